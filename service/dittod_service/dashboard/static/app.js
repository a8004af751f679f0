// The frame: which page is shown, signing in and out, and what happens when dittod changes or is gone.
// Knows pages by name only; each exports `title`, `views` and `show(root, api, params) → {refresh(views), close()}`.

import * as api from "./api.js";
import * as compare from "./compare.js";
import * as connect from "./connect.js";
import { clear, h, icon, notice, render } from "./dom.js";
import * as learning from "./learning.js";
import * as now from "./now.js";
import * as versions from "./versions.js";
import * as voices from "./voices.js";

const PAGES = [
  ["now", now, "M3 12h4l3-8 4 16 3-8h4"],
  ["voices", voices, "M5 4h14v12H9l-4 4zM9 8.5h6M9 12h4"],
  ["learning", learning, "M4 20V4M4 20h16M7 16l4-5 3 3 5-7"],
  ["compare", compare, "M4 5h7v14H4zM13 5h7v14h-7zM6.5 9h2M6.5 12h2M15.5 9h2M15.5 12h2"],
  ["versions", versions, "M12 3l9 5-9 5-9-5zM3 12.5l9 5 9-5M3 16.5l9 5 9-5"],
  ["connect", connect, "M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0zM12 17v4"],
];
const LAST = "dittod_last_page"; // where to go after signing in: a page alone, nothing of what it was about
const RESTS = 2; // times as long as it took to bring a page up to date, before the next time
const main = document.getElementById("main");
const banner = document.getElementById("banner");

let shown = null; // {module, live}: the page that is on the screen
let turn = 0; // counts up with every navigation: what comes late for an earlier one is dropped
let stopListening = null;
let isRefreshing = false;
const changed = new Set(); // views, since the page was brought up to date
let isWaiting = false; // the page could not be shown as dittod was gone: it is tried again when that is back

function place() {
  const [path, query] = location.hash.slice(1).split("?");
  const [name, ...rest] = path.split("/").map(decoded);
  return { name: name || "now", rest, query: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function drawNavigation(current) {
  const links = PAGES.map(([name, module, path]) =>
    h(
      "li",
      {},
      h(
        "a",
        { href: `#${name}`, "aria-current": name === current ? "page" : null },
        icon(path),
        h("span", {}, module.title),
      ),
    ),
  );
  render(document.getElementById("navigation"), h("ul", {}, links));
  const out = h("button", { type: "button", class: "quiet", onclick: () => void signOut() }, "Sign out");
  render(document.getElementById("account"), out);
}

function leave() {
  shown?.live?.close();
  shown = null;
}

function heading(title) {
  return h("h1", { tabindex: -1 }, title);
}

async function go() {
  const here = place();
  if (here.name === "sign-in") return enter(here.rest[0] ?? "");
  if (here.name.startsWith("sign-in=")) return enter(here.name.slice("sign-in=".length));
  if (here.name === "main") return main.focus();
  if (!api.isSignedIn()) return showSignedOut();
  const page = PAGES.find(([name]) => name === here.name);
  if (!page) return location.replace("#now");
  localStorage.setItem(LAST, `#${here.name}`);
  attend();
  await open(page, here);
}

async function open([name, module], here) {
  const mine = ++turn;
  leave();
  isWaiting = false;
  drawNavigation(name);
  document.title = `${module.title} · dittod`;
  main.dataset.page = name;
  const top = heading(module.title);
  const root = h("div", { class: "page", "aria-busy": "true" });
  main.replaceChildren(top, root);
  window.scrollTo(0, 0);
  if (mine > 1) top.focus({ preventScroll: true }); // of the first, a browser reads out the beginning
  try {
    const live = await module.show(root, api, { rest: here.rest, query: here.query });
    if (mine !== turn) return live.close();
    shown = { module, live };
  } catch (error) {
    if (mine === turn) fail(root, error);
  } finally {
    root.removeAttribute("aria-busy");
  }
}

function fail(root, error) {
  if (error.status === 401) return;
  isWaiting = error instanceof api.Gone;
  if (isWaiting) setLost(true);
  const again = h("button", { type: "button", onclick: () => void go() }, "Try again");
  render(root, notice("bad", error.message), h("p", {}, again));
}

/** One at a time, and with rests: while much changes, a page that is long in coming asks less often. */
async function hear(views) {
  views.forEach((view) => changed.add(view));
  if (isRefreshing) return;
  isRefreshing = true;
  try {
    while (changed.size) {
      const [heard, begun] = [[...changed], performance.now()];
      changed.clear();
      await refresh(heard);
      const rest = RESTS * (performance.now() - begun);
      await new Promise((resolve) => setTimeout(resolve, rest));
    }
  } finally {
    isRefreshing = false;
  }
}

async function refresh(views) {
  if (isWaiting) return go();
  const page = shown;
  if (!page?.module.views.some((view) => views.includes(view))) return;
  try {
    await page.live.refresh(views);
    setLost(false);
  } catch (error) {
    if (page !== shown) return;
    if (error instanceof api.Gone) setLost(true);
    else if (error.status === 404)
      await go(); // what it shows is no more
    else if (error.status !== 401) render(banner, h("p", {}, `This page is not up to date: ${error.message}`));
  }
}

function setLost(lost) {
  render(
    banner,
    lost
      ? h("p", {}, "dittod does not answer; trying again. If it is not running: ", h("code", {}, "dittod run"))
      : null,
  );
}

/** Nobody looks at a hidden tab: it does not listen. Whoever begins to listen is told of all views, and so catches up. */
function attend() {
  const wanted = api.isSignedIn() && !document.hidden;
  if (wanted && !stopListening) {
    stopListening = api.listen({ heard: hear, lost: () => setLost(true), found: () => setLost(false) });
  } else if (!wanted && stopListening) {
    stopListening();
    stopListening = null;
  }
}

async function enter(code) {
  history.replaceState(null, "", localStorage.getItem(LAST) ?? "#now"); // the code is in no history
  let trouble = null;
  try {
    await api.signIn(code);
  } catch (error) {
    trouble = notice("bad", error.message);
  }
  await go(); // also where the code is none: who was signed in still is
  if (trouble) main.firstElementChild.after(trouble);
}

async function signOut() {
  try {
    await api.signOut();
  } finally {
    localStorage.removeItem(LAST);
  }
}

function showSignedOut() {
  turn++;
  leave();
  attend();
  setLost(false);
  clear(document.getElementById("navigation"));
  clear(document.getElementById("account"));
  document.title = "Sign in · dittod";
  main.dataset.page = "signed-out";
  const top = heading("Open this page from a terminal");
  main.replaceChildren(
    top,
    h(
      "div",
      { class: "page stack" },
      h(
        "p",
        { class: "lead" },
        "What dittod has learnt from is yours alone, so this page shows nothing until you open it with:",
      ),
      h("pre", { class: "command" }, h("code", {}, "dittod open")),
      h(
        "p",
        { class: "muted" },
        "It makes a link that works once, for two minutes, and signs this browser in for thirty days. ",
        "Where there is no browser, ",
        h("code", {}, "dittod open --print"),
        " prints the link instead.",
      ),
    ),
  );
  top.focus({ preventScroll: true });
}

api.whenSignedOut.call = () => showSignedOut();
window.addEventListener("hashchange", () => void go());
window.addEventListener("storage", (event) => {
  if (event.key === null || event.key === "dittod_page_key") void go(); // signed in or out in another tab
});
document.addEventListener("visibilitychange", attend);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
void go();
