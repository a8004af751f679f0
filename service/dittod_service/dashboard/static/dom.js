// Builds what is on the page, out of elements and text nodes only: whatever a text holds, it stays text.
// Knows nothing of dittod and asks nothing of it.

const KEPT = new Set(["open", "value", "checked"]); // what the person does to an element stays as they left it

/** h("p", {class: "muted", onclick: f}, "words", other, null): an element. Props that begin with "on" are handlers,
 * `key` says which element it is among its siblings when it is drawn again; true, false and null are attributes
 * without value, and none. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  element.handlers = [];
  for (const [name, value] of Object.entries(props ?? {})) put(element, name, value);
  element.append(...nodes(children));
  return element;
}

function put(element, name, value) {
  if (name === "key") element.key = String(value);
  else if (name.startsWith("on")) {
    element[name] = value;
    element.handlers.push(name);
  } else if (value === null || value === undefined || value === false) return;
  else if (name === "value") {
    element.value = value;
    if (["LI", "METER", "OPTION", "PROGRESS"].includes(element.tagName)) element.setAttribute("value", value);
  } else element.setAttribute(name, value === true ? "" : String(value));
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false && child !== "")
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

const SVG = "http://www.w3.org/2000/svg";

/** A drawing of one line, 24 by 24, in the colour of the text around it. */
export function icon(path) {
  const drawing = document.createElementNS(SVG, "svg");
  for (const [name, value] of [
    ["viewBox", "0 0 24 24"],
    ["aria-hidden", "true"],
    ["class", "icon"],
  ]) {
    drawing.setAttribute(name, value);
  }
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  drawing.append(line);
  return drawing;
}

export function clear(element) {
  element.replaceChildren();
}

const placed = new WeakSet(); // elements that `render` has put on the page

/** Makes `root` hold these children. What is there already and alike stays the same element: focus, selection, what
 * is unfolded and what is being typed survive. An element that was placed before and is given again (a canvas, a box
 * for messages) is taken as it is; as it is moved, nothing in it should have focus. */
export function render(root, ...children) {
  const fresh = nodes(children);
  const given = new Set(fresh);
  const known = new Map([...root.childNodes].filter((node) => node.key).map((node) => [node.key, node]));
  let place = root.firstChild;
  for (const child of fresh) {
    const same = placed.has(child) ? child : given.has(place) ? null : counterpart(place, child, known);
    if (same !== null && same === place) place = place.nextSibling;
    else root.insertBefore(same ?? child, place);
    if (same === null) settle(child);
    else if (same !== child) patch(same, child);
  }
  while (place !== null) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function settle(node) {
  placed.add(node);
  for (const child of node.childNodes) settle(child);
}

function counterpart(place, child, known) {
  if (child.key) return alike(known.get(child.key), child) ? known.get(child.key) : null;
  return place && !place.key && alike(place, child) ? place : null;
}

function alike(old, fresh) {
  return Boolean(old) && old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName;
}

function patch(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const name of old.handlers ?? []) old[name] = null;
  for (const name of fresh.handlers ?? []) old[name] = fresh[name];
  old.handlers = fresh.handlers;
  render(old, ...fresh.childNodes);
}

/** Says it to screen readers, once, wherever focus is. */
export function announce(sentence) {
  const box = document.getElementById("announcer");
  if (box.textContent !== sentence) box.textContent = sentence;
}

/** A sentence in a box. kind: "bad" is read out at once, "good" soon, "plain" like other text. */
export function notice(kind, ...children) {
  return h("div", { class: `notice ${kind}`, role: { bad: "alert", good: "status" }[kind] }, children);
}

/** Does it while the button waits; what goes wrong is said in `box`, beside the button, in the server's words.
 * Returns whether it went well. */
export async function act(button, box, action) {
  if (button.getAttribute("aria-disabled") === "true") return false;
  button.setAttribute("aria-disabled", "true");
  clear(box);
  try {
    await action();
    return true;
  } catch (error) {
    render(box, notice("bad", error.message));
    return false;
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

/** Asks before it does. `action` runs when the person agrees; if it fails, the dialog says so and stays.
 * Resolves to whether it was done. */
export function dialog({ title, body = [], confirm, danger = false, action }) {
  const box = h("div", {});
  let done = false;
  const yes = h("button", { type: "button", class: danger ? "danger" : "primary" }, confirm);
  const no = h("button", { type: "button" }, "Cancel");
  const heading = h("h2", { id: "dialog-title" }, title);
  const buttons = h("div", { class: "row end" }, no, yes);
  const element = h(
    "dialog",
    { "aria-labelledby": "dialog-title" },
    heading,
    h("div", { class: "stack" }, body),
    box,
    buttons,
  );
  document.body.append(element);
  return new Promise((resolve) => {
    yes.onclick = async () => {
      done = await act(yes, box, action);
      if (done) element.close();
    };
    no.onclick = () => element.close();
    element.onclose = () => {
      element.remove();
      resolve(done);
    };
    element.showModal();
    (danger ? no : yes).focus();
  });
}

/** A table in a box of its own, which scrolls where it is too wide. rows: lists of cells; the first is the row's head. */
export function table(caption, heads, rows) {
  const head = h(
    "tr",
    {},
    heads.map((each) => h("th", { scope: "col" }, each)),
  );
  const body = rows.map(([first, ...others]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, first),
      others.map((each) => h("td", {}, each)),
    ),
  );
  const whole = h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, head), h("tbody", {}, body));
  return h("div", { class: "table-box", tabindex: 0, role: "region", "aria-label": caption }, whole);
}

const DAY = 86400;
const exactly = (date) => date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A moment, in POSIX seconds, by day and hour: several may be of one day. */
export function moment(seconds) {
  const date = new Date(seconds * 1000);
  return h("time", { datetime: date.toISOString() }, exactly(date));
}

/** The same as people say it; the exact one stands in the title. */
export function time(seconds) {
  if (seconds === null || seconds === undefined) return h("span", {}, "–");
  const date = new Date(seconds * 1000);
  return h("time", { datetime: date.toISOString(), title: exactly(date) }, ago(seconds, date));
}

function ago(seconds, date) {
  const past = Date.now() / 1000 - seconds;
  if (past < -60 || past > 6 * DAY) return date.toLocaleDateString(undefined, { dateStyle: "medium" });
  if (past < 60) return "just now";
  if (past < 90 * 60) return `${count(Math.round(past / 60), "minute")} ago`;
  if (past < DAY) return `${count(Math.round(past / 3600), "hour")} ago`;
  return `${count(Math.round(past / DAY), "day")} ago`;
}

/** "40 seconds", "12 minutes", "3 h 20 min", "2 days". */
export function duration(seconds) {
  if (seconds < 90) return count(Math.max(1, Math.round(seconds)), "second");
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return count(minutes, "minute");
  if (seconds >= 2 * DAY) return count(Math.round(seconds / DAY), "day");
  const rest = minutes % 60;
  return `${Math.floor(minutes / 60)} h${rest ? ` ${rest} min` : ""}`;
}

/** "12,000". */
export const whole = (number) => number.toLocaleString("en-GB");

export function count(number, noun, many = `${noun}s`) {
  return `${whole(number)} ${number === 1 ? noun : many}`;
}

export const capital = (words) => words[0].toUpperCase() + words.slice(1);

/** "0 MiB", "812 MiB", "3.2 GiB". */
export function bytes(number) {
  if (number < 2 ** 20 && number > 0) return `${Math.max(1, Math.round(number / 2 ** 10))} KiB`;
  const mebibytes = number / 2 ** 20;
  return mebibytes < 1000 ? `${Math.round(mebibytes)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`;
}
