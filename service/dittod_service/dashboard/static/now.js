// Now: whether it is learning, and if not, why; what is served; memory, disk and requests.

import { act, announce, bytes, capital, count, h, notice, render, time, whole } from "./dom.js";
import { progress } from "./progress.js";

export const title = "Now";
export const views = ["now", "runs", "versions", "voices"];

const HOUR = 3600;

export async function show(root, api) {
  const trouble = h("div", { class: "wide" });
  const state = { now: null, run: null };

  async function load() {
    state.now = await api.get("/dashboard/now");
    state.run = state.now.profiles.some((each) => each.run) ? await currentRun(api) : null;
  }

  function draw() {
    render(root, page(state.now, state.run, trouble, does));
  }

  /** Does it, and shows what has become of it. */
  const does = (button, action) =>
    act(button, trouble, async () => {
      await action(api);
      await load();
      draw();
      if (!button.isConnected) root.querySelector(".state").focus(); // another button has taken its place
    });

  await load();
  draw();
  return {
    async refresh() {
      const before = sentence(state.now);
      await load();
      draw();
      const after = sentence(state.now);
      if (after !== before) announce(after);
    },
    close() {},
  };
}

async function currentRun(api) {
  const { runs, current } = await api.get("/dashboard/runs");
  return runs.find((run) => run.id === current) ?? null;
}

function page(now, run, trouble, does) {
  return [
    h(
      "section",
      { class: "stack", "aria-label": "Learning" },
      h("p", { class: "state", tabindex: -1 }, sentence(now)),
      run ? progress(run, h("a", { href: `#learning/${run.id}` }, "Watch it learn")) : null,
      now.next && !run ? h("p", { class: "muted" }, capital(ended(now.next))) : null,
      buttons(now, does),
      trouble,
      notices(now),
    ),
    firstSteps(now),
    served(now, does),
    machine(now),
  ];
}

/** The one thing that this page is for. */
function sentence(now) {
  const { state, reason } = now.learning;
  const open = now.profiles.filter((each) => each.run);
  const goes = open.find((each) => !each.run.paused) ?? open[0];
  const held = state === "paused" ? reason : goes?.run.paused;
  if (goes && held) return `Learning is on hold: ${ended(held)}`;
  if (goes) return `It is learning from “${goes.name}”.`;
  if (reason) return `It is not learning: ${ended(reason)}`;
  return "It is about to learn.";
}

const ended = (reason) => (/[.!?]$/.test(reason) ? reason : `${reason}.`);

function buttons(now, does) {
  const learning = (body) => (api) => api.post("/dashboard/learning", body);
  const button = (words, body, props = {}) =>
    h(
      "button",
      { type: "button", key: words, ...props, onclick: (event) => does(event.currentTarget, learning(body)) },
      words,
    );
  if (now.learning.state === "paused") {
    return h("div", { class: "row" }, button("Resume", { do: "resume" }, { class: "primary" }));
  }
  const [only, ...others] = now.profiles;
  const learn = only && !others.length && !only.run ? button("Learn now", { do: "update", profile: only.name }) : null;
  return h(
    "div",
    { class: "row" },
    learn,
    button("Pause for an hour", { do: "pause", seconds: HOUR }),
    button("Pause until I resume", { do: "pause", seconds: null }),
  );
}

function notices(now) {
  const unread = (now.learning.unreadable ?? []).map((each) => ["unreadable", `Not known, and so not heeded: ${each}`]);
  const told = [...ofHome(now), ...now.profiles.flatMap(ofVoice), ...unread].filter(([, words]) => words);
  return told.map(([key, words]) =>
    h("div", { class: "wide", key: Array.isArray(words) ? key : `${key} ${words}` }, notice("plain", words)),
  );
}

/** What is to be told, each with what it is about; some of it may be nothing. */
function ofHome({ engine, disk, brake, set_aside: aside, ...now }) {
  const folder = `The watched folder ${now.watched_folder} cannot be read: until it can be, nothing is read or forgotten.`;
  const nobody = "It cannot be told whose the mails are. In a terminal: dittod identities";
  const which = () => [`${count(aside, "file")} set aside. `, h("a", { href: "#voices" }, "See which, and why")];
  return [
    ["folder", now.watched_folder_is_mounted ? null : folder],
    ["brake", brake],
    ["trouble", engine.trouble],
    ...(engine.set_aside ?? []).map((version) => [
      "engine",
      `${version} is not used until the next start: the engine died of it.`,
    ]),
    ["disk", disk.sentence],
    ["nobody", now.has_mail && !now.identities.length ? nobody : null],
    ["files", aside ? which() : null],
  ];
}

function ofVoice({ name, run, rolled_back: back, kept_back: kept, last_error: error, forgotten }) {
  const waits = forgotten?.length && run?.state === "requested";
  return [
    ["back", back ? `${name} was rolled back by itself: ${back.sentence}` : null],
    ["kept", kept && !run ? `The last update of ${name} was kept back: ${kept.reason}. Versions has all of it.` : null],
    ["error", error && !run ? `The last update of ${name} failed: ${error}` : null],
    ["forgotten", waits ? `Forgotten: ${forgotten.join(", ")}; an update without their texts is asked for.` : null],
  ];
}

function firstSteps(now) {
  const steps = now.setup ?? [];
  if (steps.every((step) => step.done)) return null;
  return h(
    "section",
    { class: "card stack", "aria-labelledby": "first-steps", key: "first-steps" },
    h("h2", { id: "first-steps" }, "First steps"),
    h(
      "ol",
      { class: "checks" },
      steps.map((step) =>
        h(
          "li",
          { class: step.done ? "done" : null },
          h("span", { class: "unseen" }, step.done ? "done: " : "to do: "),
          withCommands(step.what),
        ),
      ),
    ),
  );
}

/** Commands in a sentence, as such. */
const withCommands = (words) =>
  words.split(/(\bdittod [a-z-]+)/).map((part, at) => (at % 2 ? h("code", {}, part) : part));

function served(now, does) {
  const many = now.profiles.length > 1;
  return h(
    "section",
    { class: "stack", "aria-labelledby": "served", key: "served" },
    h("h2", { id: "served" }, "What is served"),
    h(
      "div",
      { class: "columns wide" },
      now.profiles.map((profile) => voice(profile, many, does)),
    ),
  );
}

function voice(profile, many, does) {
  const { name, adapter, run } = profile;
  const learn = h(
    "button",
    {
      type: "button",
      "aria-label": `Learn ${name} now`,
      onclick: (event) =>
        does(event.currentTarget, (api) => api.post("/dashboard/learning", { do: "update", profile: name })),
    },
    "Learn now",
  );
  return h(
    "article",
    { class: "card stack", key: name },
    h("h3", {}, name),
    adapter
      ? h(
          "p",
          {},
          h("a", { href: `#versions/${encodeURIComponent(adapter.id)}` }, `${name}@${adapter.number}`),
          ` · ${adapter.recipe}`,
          h("br", {}),
          h("span", { class: "muted" }, "promoted ", time(adapter.promoted_at)),
        )
      : h("p", { class: "muted" }, "base, the model as it is: no version is promoted yet"),
    h(
      "p",
      { class: "muted" },
      h("a", { href: `#voices/${encodeURIComponent(name)}` }, count(profile.demonstrations, "text")),
      `, ${profile.held_out} held out to judge by`,
    ),
    many && profile.waiting ? h("p", { class: "muted" }, `Not learning: ${ended(profile.waiting)}`) : null,
    many && !run ? learn : null,
  );
}

function machine(now) {
  const { memory, disk, requests, engine } = now;
  return h(
    "section",
    { class: "stack", "aria-labelledby": "machine", key: "machine" },
    h("h2", { id: "machine" }, "This machine"),
    h(
      "div",
      { class: "columns narrow wide" },
      memory
        ? gauge(
            "Memory",
            memory.used_bytes,
            memory.budget_bytes,
            h("p", { class: "muted" }, `${engine.base_model} · ${engineState(engine)}`),
          )
        : null,
      gauge("Disk", disk.used_bytes, disk.budget_bytes, h("p", { class: "muted" }, "Versions, runs and logs")),
      requests ? asked(requests) : null,
    ),
    now.endpoint
      ? h(
          "p",
          { class: "muted" },
          "Clients reach it at ",
          h("code", {}, now.endpoint),
          ". ",
          h("a", { href: "#connect" }, "Connect one"),
        )
      : null,
    h("p", { class: "muted" }, "It watches ", h("code", {}, now.watched_folder), `. dittod ${now.version}`),
  );
}

const engineState = (engine) => (engine.memory_bytes ? `engine ${engine.state}` : "not loaded: requests load it");

function gauge(name, used, budget, below) {
  const words = budget ? `${bytes(used)} of ${bytes(budget)}` : bytes(used);
  return h(
    "div",
    { class: "card stack", key: name },
    h("h3", {}, name),
    h("p", { class: "figure" }, words),
    budget
      ? h("meter", {
          class: "wide",
          min: 0,
          max: budget,
          high: budget * 0.95,
          optimum: 0,
          value: Math.min(used, budget),
          "aria-label": `${name}: ${words}`,
        })
      : null,
    below,
  );
}

function asked(requests) {
  const busy = [
    requests.running ? `${requests.running} running` : null,
    requests.waiting ? `${requests.waiting} waiting` : null,
  ];
  const words = [...busy, requests.failed ? `${requests.failed} refused or failed` : null].filter(Boolean).join(", ");
  return h(
    "div",
    { class: "card stack", key: "requests" },
    h("h3", {}, "Requests"),
    h("p", { class: "figure" }, whole(requests.total)),
    h("p", { class: "muted" }, `since the start${words ? `: ${words}` : ""}`),
    h(
      "p",
      { class: "muted" },
      `${count(requests.tokens_read, "token")} read, ${whole(requests.tokens_written)} written`,
    ),
  );
}
