// Two models are asked the same with the same seed, and their answers stand side by side; blind, if wished. While they
// are blind no element of the page holds a name beside an answer, and which one is asked first is chance.

import { answerPanel } from "./answer.js";
import { announce, clear, count, h, notice, render, table } from "./dom.js";

export const title = "Before and after";
export const views = ["versions", "voices"];

const BASE = "base";
const TEMPERATURE = 0.7; // as the gate's, and that of dittod compare
const SEEDS = 2 ** 31;
const MOST_SUGGESTED = 6;

export async function show(root, api, { query }) {
  const results = h("section", { class: "stack results", hidden: true, "aria-label": "Answers" });
  const tally = h("section", { class: "stack" });
  const form = questionForm({ query, ask, stop: () => running?.abort() });
  let running = null; // ends both answers

  async function ask(question) {
    running?.abort();
    running = new AbortController();
    const mine = running;
    form.busy(true);
    try {
      await compare(results, api, question, mine.signal, drawTally);
    } finally {
      if (mine === running) form.busy(false);
    }
  }

  const drawTally = async () => render(tally, tallyOf(await api.get("/dashboard/judgements")));
  const drawModels = async () => form.models((await api.get("/v1/models")).data.map(({ id }) => id));

  await Promise.all([drawModels(), drawTally()]);
  render(
    root,
    h(
      "p",
      { class: "muted" },
      "The same question to two models, with the same seed: what your texts have changed, and if it sounds like you.",
    ),
    form.element,
    results,
    tally,
  );
  void suggest(api, form.suggestions);
  return { refresh: () => Promise.all([drawModels(), drawTally()]), close: () => running?.abort() };
}

/* The question */

function questionForm({ query, ask, stop }) {
  const prompt = h("textarea", { id: "prompt", rows: 4, required: true, maxlength: 100000, autocomplete: "off" });
  const seed = h("input", {
    id: "seed",
    type: "number",
    inputmode: "numeric",
    min: 0,
    max: SEEDS - 1,
    step: 1,
    required: true,
  });
  const [one, other] = ["one", "other"].map((id) => h("select", { id, onchange: drawKept }));
  const blind = h("input", { type: "checkbox", id: "blind" });
  const suggestions = h("div", { class: "row suggestions" });
  const kept = h("div", { class: "muted small" });
  let keptDays = new Map(); // by voice
  const said = h("div", {});
  const send = h("button", { type: "submit", class: "primary" }, "Ask both");
  const end = h("button", { type: "button", hidden: true, onclick: stop }, "Stop");
  const another = h(
    "button",
    { type: "button", class: "quiet", onclick: () => (seed.value = drawSeed()) },
    "Draw another",
  );
  prompt.value = query.get("prompt") ?? "";
  seed.value = drawSeed();

  function submit(event) {
    event.preventDefault();
    clear(said);
    if (!prompt.value.trim()) return render(said, notice("bad", "There is nothing to ask. Give a prompt."));
    if (one.value === other.value) return render(said, notice("bad", "Both are the same. Choose two."));
    return void ask({
      prompt: prompt.value,
      seed: Number(seed.value),
      models: [one.value, other.value],
      blind: blind.checked,
    });
  }

  const element = h(
    "form",
    { class: "card stack", onsubmit: submit },
    h("div", { class: "field" }, h("label", { for: "prompt" }, "What to write"), prompt),
    suggestions,
    h(
      "div",
      { class: "columns wide" },
      h("div", { class: "field" }, h("label", { for: "one" }, "One"), one),
      h("div", { class: "field" }, h("label", { for: "other" }, "The other"), other),
      h("div", { class: "field" }, h("label", { for: "seed" }, "Seed"), h("div", { class: "beside" }, seed, another)),
    ),
    h("label", { class: "check" }, blind, "Blind: names are hidden until you have said which is yours"),
    kept,
    h("div", { class: "row" }, send, end),
    said,
  );
  prompt.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element.requestSubmit();
  };

  function drawKept() {
    const asked = [...new Set([one.value, other.value].map(profileOf))].filter((voice) => keptDays.has(voice));
    const daysOf = (voice) => `${keptDays.get(voice)} ${keptDays.get(voice) === 1 ? "day" : "days"}`; // or half a one
    render(
      kept,
      asked.map((voice) =>
        h(
          "p",
          {},
          `What you ask ${voice}, and its answers, are kept for ${daysOf(voice)}: `,
          "keep_interactions says so.",
        ),
      ),
    );
  }

  function models(names) {
    const wanted = [one.value || query.get("one") || BASE, other.value || query.get("other") || likeliest(names)];
    [one, other].forEach((select, place) => {
      render(select, options(names));
      if (names.includes(wanted[place])) select.value = wanted[place];
    });
    drawKept();
  }

  function busy(isBusy) {
    end.hidden = !isBusy;
    render(send, isBusy ? "Ask again" : "Ask both");
  }

  return {
    element,
    models,
    busy,
    suggestions: {
      box: suggestions,
      known: (profiles) => {
        keptDays = new Map(profiles.filter((each) => each.kept_days).map((each) => [each.name, each.kept_days]));
        drawKept();
      },
      choose: (text) => {
        prompt.value = text;
        prompt.focus();
      },
    },
  };
}

const drawSeed = () => crypto.getRandomValues(new Uint32Array(1))[0] % SEEDS;

function options(names) {
  const groups = {
    "Without your texts": names.filter((name) => name === BASE),
    "As it is served": names.filter((name) => name !== BASE && !name.includes("@")),
    "One version": names.filter((name) => name.includes("@")),
  };
  const full = Object.entries(groups).filter(([, members]) => members.length);
  return full.map(([label, members]) =>
    h(
      "optgroup",
      { label },
      members.map((name) => h("option", { value: name }, name)),
    ),
  );
}

// The alias of a voice that has versions; else of any, first of one that has a name of its own.
function likeliest(names) {
  const aliases = names.filter((name) => name !== BASE && !name.includes("@"));
  const made = new Set(names.filter((name) => name.includes("@")).map(profileOf));
  return aliases.find((alias) => made.has(profileOf(alias))) ?? aliases.at(-1);
}

/* Prompts of texts that nothing has learnt from: the honest test */

async function suggest(api, { box, known, choose }) {
  try {
    const { profiles } = await api.get("/dashboard/voices");
    known(profiles);
    const prompts = await heldOutPrompts(api, profiles);
    const buttons = prompts.map((text) =>
      h("button", { type: "button", class: "suggestion small", title: text, onclick: () => choose(text) }, text),
    );
    render(
      box,
      prompts.length
        ? [h("span", { class: "muted small" }, "Held out, so that no version has seen your answer:"), buttons]
        : null,
    );
  } catch (error) {
    render(box, h("p", { class: "muted small" }, `No suggestions: ${error.message}`));
  }
}

async function heldOutPrompts(api, profiles) {
  const held = profiles.filter((profile) => profile.held_out);
  const documents = await Promise.all(held.map(({ name }) => api.get(`/dashboard/voices/${encodeURIComponent(name)}`)));
  const prompts = documents.flatMap(({ demonstrations }) =>
    demonstrations.filter(({ use }) => use === "hold out").map(({ prompt }) => prompt),
  );
  return [...new Set(prompts)].slice(0, MOST_SUGGESTED);
}

/* The answers */

async function compare(root, api, { prompt, seed, models, blind }, signal, drawTally) {
  const order = blind && chance() ? [...models].reverse() : models;
  const panels = order.map((model, place) =>
    answerPanel(api, { prompt, model, other: order[1 - place], heading: blind ? `Answer ${place + 1}` : model }),
  );
  const verdict = h("div", { class: "stack" });
  root.hidden = false;
  root.replaceChildren(
    h("h2", {}, "Answers"),
    h(
      "div",
      { class: "columns wide" },
      panels.map(({ element }) => element),
    ),
    verdict,
  );
  root.scrollIntoView({ block: "nearest" });
  const body = { messages: [{ role: "user", content: prompt }], seed, temperature: TEMPERATURE };
  await Promise.all(panels.map((panel) => panel.write(body, signal)));
  if (!signal.aborted) announce("Both have answered.");
  if (!blind) return panels.forEach((panel) => panel.reveal());
  if (signal.aborted || panels.some((panel) => panel.failed)) {
    panels.forEach((panel) => panel.reveal());
    return render(verdict, notice("plain", "Not both have answered, so nothing is counted; here is who is who."));
  }
  if (panels[0].adapter === panels[1].adapter) {
    panels.forEach((panel) => panel.reveal());
    return render(verdict, notice("plain", "Both answers are by the same version, so there is nothing to choose."));
  }
  return offerChoice(panels, verdict, api, drawTally);
}

const chance = () => crypto.getRandomValues(new Uint8Array(1))[0] % 2 === 1;

function offerChoice(panels, verdict, api, drawTally) {
  const reveal = (sentence) => {
    panels.forEach((panel) => panel.reveal());
    const said = h("p", { class: "lead", tabindex: -1 }, sentence);
    verdict.replaceChildren(said);
    said.focus(); // the button that had the focus is gone
  };
  const said = h("div", {});
  const neither = h("button", { type: "button", onclick: () => reveal("Neither is counted.") }, "Neither is mine");
  panels.forEach((panel, place) =>
    panel.offer(async () => {
      const rival = panels[1 - place];
      await api.post("/dashboard/judgements", {
        chosen: panel.adapter, // who answered, whatever its name stands for by now
        other: rival.adapter,
      });
      await drawTally();
      reveal(`You took ${panel.model} for yours, not ${rival.model}.`);
    }, said),
  );
  render(verdict, h("p", {}, "Which one is yours?"), h("div", { class: "row" }, neither), said);
}

/** Whose voice a model's name is: "email" for "ditto/email@3"; null for base. */
function profileOf(model) {
  if (model === BASE) return null;
  return model.startsWith("ditto/") ? model.slice("ditto/".length).split("@")[0] : "default";
}

/* What was chosen so far */

function tallyOf({ tallies, total }) {
  const rows = tallies.map((each) => {
    const pair = [
      [each.one, each.one_chosen],
      [each.other, each.other_chosen],
    ].sort(([, some], [, others]) => others - some);
    return [each.profile, ...pair.flat()];
  });
  const heads = ["voice", "taken for yours", "times", "rather than", "times"];
  return [
    h("h2", {}, "Your judgements"),
    h(
      "p",
      { class: "muted" },
      total
        ? `You have judged ${count(total, "pair")} blind.`
        : "Nothing is judged yet. Ask both blind, and say which answer is yours: no judge knows better.",
    ),
    rows.length ? table("Which is yours, so far", heads, rows) : null,
  ];
}
