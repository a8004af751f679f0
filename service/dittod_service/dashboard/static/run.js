// One update: its stages, its figures as charts, and what the policy writes while it is under way. Knows what figures
// are called and measured in; whether they are good is the gate's business.

import { lineChart, number } from "./charts.js";
import { announce, count, dialog, h, notice, render, table, time } from "./dom.js";
import { progress, stageNow } from "./progress.js";
import { samplesBesideTexts } from "./samples.js";
import { link } from "./version.js";

const CHARTS = [
  {
    phase: "supervised",
    title: "Supervised loss",
    unit: "nats per token",
    about: "How much a token of your own texts costs the policy. It should fall.",
    lines: [{ figure: "loss", label: "loss", kind: "one" }],
  },
  {
    phase: "dpo",
    title: "Log-probabilities",
    unit: "nats per sequence",
    about: "How likely the policy finds your texts (chosen) and its own (rejected). Chosen should gain on rejected.",
    lines: [
      { figure: "chosen_logps", label: "chosen", kind: "chosen" },
      { figure: "rejected_logps", label: "rejected", kind: "rejected" },
    ],
  },
  {
    phase: "dpo",
    title: "Margin",
    unit: "nats",
    about:
      "How much further the policy sets chosen and rejected apart than the reference, times β. It should rise over 0.",
    lines: [{ figure: "margin", label: "margin", kind: "one" }],
  },
];
const ROUNDS = { mean_tokens: "tokens each", eos_rate: "ended by themselves", drift: "drift from the reference, nats" };
const IN_ITERATIONS = ["sampling", "dpo"];
const WORDS = { requested: "waits", running: "under way", stopped: "stopped", failed: "failed", done: "done" };

export const isOpen = (run) => run.state === "requested" || run.state === "running";

/** What came of it, short: a version with its verdict, an error, or how far it is. */
export function outcome(run) {
  if (run.state === "failed") return [h("span", { class: "badge bad" }, "failed"), " ", run.error];
  if (!run.version) return [h("span", { class: "badge" }, WORDS[run.state])];
  const verdict = h("span", { class: run.promoted ? "badge accent" : "badge" }, run.promoted ? "promoted" : "kept back");
  return [h("a", { href: link(run.version) }, run.version), " ", verdict];
}

/** Draws a run into `root`, and what is new of it at each refresh. `changed` is called when it was stopped. */
export function follow(root, api, id, changed) {
  const [head, rounds, written] = [1, 2, 3].map(() => h("div", { class: "stack" }));
  const charts = h("div", { class: "charts" });
  const course = courseCharts(charts);
  const samples = samplesBesideTexts(api);
  let steps = [];
  let before = null; // the stage that it was in

  async function refresh() {
    const run = await latest();
    const stage = stageNow(run)?.title;
    if (before !== null && stage && stage !== before) announce(`Now: ${stage}.`);
    before = stage ?? before;
    render(head, headline(run, api, changed));
    course.draw(steps);
    render(rounds, roundsOf(steps));
    render(written, await samples.of(run));
  }

  // Places behind the last one; all of them where the run was led back to a checkpoint.
  async function latest() {
    const last = steps.at(-1)?.place ?? 0;
    const run = await api.get(`/dashboard/runs/${encodeURIComponent(id)}?after=${last}`);
    const known = run.after === 0 ? [] : steps;
    steps = [...known, ...run.steps.filter(({ place }) => place > (known.at(-1)?.place ?? 0))]; // two answers may cross
    return run;
  }

  render(root, head, charts, rounds, written);
  return { id, refresh, close: course.close };
}

/* How far it is */

function headline(run, api, changed) {
  const stop = isOpen(run)
    ? h("button", { type: "button", class: "danger", onclick: () => askToStop(run, api, changed) }, "Stop…")
    : null;
  return [
    h("div", { class: "row apart wide" }, h("h2", {}, sentence(run)), stop),
    isOpen(run) && run.paused ? notice("plain", h("p", { class: "sentence" }, run.paused)) : null,
    run.state === "failed" ? notice("bad", h("p", { class: "sentence" }, run.error)) : null,
    run.version ? h("p", {}, "It made ", outcome(run), ".") : null,
    run.state === "running" ? progress(run) : null,
    run.stages.length ? stepper(run.stages) : null,
    run.notes.length
      ? h(
          "ul",
          { class: "muted" },
          run.notes.map((note) => h("li", {}, note)),
        )
      : null,
    makings(run),
  ];
}

function sentence(run) {
  if (run.state === "running")
    return run.paused ? `Learning ${run.profile} has paused` : `It is learning ${run.profile}`;
  return `Update of ${run.profile}: ${WORDS[run.state]}`;
}

function stepper(stages) {
  const items = stagesByName(stages).map(([name, members]) => {
    const state = ["now", "to come"].find((each) => members.some((stage) => stage.state === each)) ?? "done";
    return h(
      "li",
      { class: state.replace(" ", "-"), "aria-current": state === "now" ? "step" : null },
      members.map((stage) => h("span", { class: `dot ${stage.state.replace(" ", "-")}`, "aria-hidden": "true" })),
      h("span", { "aria-hidden": "true" }, name),
      h("span", { class: "unseen" }, members.map((stage) => `${stage.title}: ${stage.state}`).join("; ")),
    );
  });
  return h("ol", { class: "stepper plain-list small", "aria-label": "Stages" }, items);
}

// What belongs to one t of the algorithm is one item.
function stagesByName(stages) {
  const named = new Map();
  for (const stage of stages) {
    const name = IN_ITERATIONS.includes(stage.phase) ? `iteration ${stage.iteration + 1}` : stage.title;
    named.set(name, [...(named.get(name) ?? []), stage]);
  }
  return [...named];
}

function makings(run) {
  const facts = {
    "asked for": [time(run.requested_at), run.by_hand ? ", by hand" : ", by itself"],
    ended: run.finished_at ? time(run.finished_at) : null,
    texts: `${count(run.demonstrations, "text")} to learn from, ${run.held_out} held out for the gate`,
    preset: `${run.preset}, seed ${run.seed}`,
  };
  const known = Object.entries(facts).filter(([, value]) => value !== null);
  return h(
    "details",
    { class: "small", open: !isOpen(run) },
    h("summary", {}, "What it is made of"),
    h(
      "dl",
      { class: "facts" },
      known.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
  );
}

function askToStop(run, api, changed) {
  return dialog({
    title: `Stop the update of ${run.profile}?`,
    body: [
      h(
        "p",
        {},
        "It ends for good, and what it has learnt is lost. What is served stays as it is, and your texts wait for the ",
        "next update.",
      ),
      h(
        "p",
        { class: "muted" },
        "To go on later instead, pause: on the page Now, or with ",
        h("code", {}, "dittod pause"),
        ".",
      ),
    ],
    confirm: "Stop it",
    danger: true,
    action: async () => {
      await api.post("/dashboard/learning", { do: "stop", profile: run.profile });
      announce(`The update of ${run.profile} is stopped.`);
      await changed();
    },
  });
}

/* Its figures */

function courseCharts(root) {
  const drawn = new Map(); // by title
  function draw(steps) {
    const taken = CHARTS.map((chart) => [chart, steps.filter(({ phase }) => phase === chart.phase)]).filter(
      ([, own]) => own.length,
    );
    for (const [chart] of taken) if (!drawn.has(chart.title)) drawn.set(chart.title, lineChart(chart));
    render(
      root,
      taken.map(([chart]) => drawn.get(chart.title).element),
    );
    for (const [chart, own] of taken) void drawn.get(chart.title).draw(own, roundLines(own));
  }
  return { draw, close: () => drawn.forEach((chart) => chart.close()) };
}

const roundLines = (steps) =>
  steps
    .filter((step, place) => place > 0 && step.iteration !== steps[place - 1].iteration)
    .map(({ step, iteration }) => ({ at: step, label: `iteration ${iteration + 1}` }));

function roundsOf(steps) {
  const drawn = steps.filter(({ phase }) => phase === "sampling");
  if (!drawn.length) return null;
  const rows = drawn.map(({ iteration, figures }) => [
    iteration + 1,
    number(figures.mean_tokens),
    percent(figures.eos_rate),
    number(figures.drift),
  ]);
  return [h("h3", {}, "Rounds of samples"), table("Rounds of samples", ["iteration", ...Object.values(ROUNDS)], rows)];
}

const percent = (share) => (Number.isFinite(share) ? `${Math.round(100 * share)} %` : "–");
