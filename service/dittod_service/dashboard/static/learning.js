// What is being learnt: the update under way, when each voice learns next, and the updates before.

import { act, announce, clear, duration, h, moment, render, table } from "./dom.js";
import { follow, isOpen, outcome } from "./run.js";

export const title = "Learning";
export const views = ["runs"];

export function show(root, api, { rest: [id] }) {
  return id ? showOne(root, api, id) : showAll(root, api);
}

async function showOne(root, api, id) {
  const box = h("section", { class: "page" });
  render(root, h("p", {}, h("a", { href: "#learning" }, "← All updates")), box);
  const followed = follow(box, api, id, () => followed.refresh());
  await followed.refresh();
  return followed;
}

async function showAll(root, api) {
  const now = h("section", { class: "page" });
  const next = nextUpdates(api, () => refresh());
  const before = h("section", { class: "stack" });
  let followed = null;

  async function refresh() {
    const found = await api.get("/dashboard/runs");
    const current = found.runs.find(({ id }) => id === found.current) ?? found.runs.find(isOpen);
    if (followed?.id !== current?.id) {
      followed?.close();
      clear(now);
      followed = current ? follow(now, api, current.id, refresh) : null;
    }
    render(root, current ? now : null, next.element, before);
    next.draw(found);
    render(before, earlier(found.runs.filter(({ id }) => id !== current?.id)));
    await followed?.refresh();
  }

  await refresh();
  return { refresh, close: () => followed?.close() };
}

/* When each voice learns next */

function nextUpdates(api, refresh) {
  const rows = new Map(); // by profile
  const list = h("ul", { class: "plain-list rows wide" });
  const empty = h(
    "p",
    { class: "muted" },
    "There is no voice yet. Put sent mails or texts of yours into the watched folder.",
  );
  const element = h("section", { class: "stack" }, h("h2", {}, "What it learns next"), list, empty);

  function draw({ runs, waiting }) {
    const open = new Map(runs.filter(isOpen).map((run) => [run.profile, run]));
    for (const profile of Object.keys(waiting))
      if (!rows.has(profile)) rows.set(profile, voiceRow(api, profile, refresh));
    render(
      list,
      Object.keys(waiting).map((profile) => rows.get(profile).element),
    );
    for (const [profile, why] of Object.entries(waiting)) rows.get(profile).draw(why, open.get(profile));
    empty.hidden = list.hasChildNodes();
  }

  return { element, draw };
}

// One element for as long as the page is shown: what it says of an error stays.
function voiceRow(api, profile, refresh) {
  const why = h("p", { class: "muted sentence" });
  const said = h("div", {});
  const button = h("button", { type: "button" }, "Learn now", h("span", { class: "unseen" }, ` for ${profile}`));
  button.onclick = () =>
    act(button, said, async () => {
      await api.post("/dashboard/learning", { do: "update", profile });
      announce(`An update of ${profile} is asked for.`);
      await refresh();
    });
  const element = h("li", {}, h("div", { class: "row apart" }, h("div", {}, h("h3", {}, profile), why), button), said);

  function draw(reason, run) {
    render(why, whatHolds(reason, run));
    button.hidden = Boolean(run);
  }

  return { element, draw };
}

function whatHolds(reason, run) {
  if (!run) return reason ?? "Nothing holds it up.";
  if (run.state === "running") return "An update is under way.";
  return reason === null ? "An update was asked for." : `An update was asked for, and waits: ${reason}`;
}

/* The updates before */

function earlier(runs) {
  const heads = ["asked for", "voice", "outcome", "texts", "held out", "to its end"];
  const rows = runs.map((run) => [
    h("a", { href: `#learning/${run.id}` }, moment(run.requested_at)),
    run.profile,
    outcome(run),
    run.demonstrations,
    run.held_out,
    run.finished_at ? duration(run.finished_at - run.requested_at) : "–",
  ]);
  const none = h(
    "p",
    { class: "muted" },
    "None so far. The first begins by itself when there are texts enough, or with Learn now.",
  );
  return [h("h2", {}, "Earlier updates"), rows.length ? table("Earlier updates", heads, rows) : none];
}
