// What the policy writes while an update is under way, beside what the person wrote to the same prompts. Dittod keeps
// samples in memory only, and so does the page.

import { count, h } from "./dom.js";

const MOST_SHOWN = 3; // that are not folded away

/** Own texts are asked for once each: a run draws many samples for one. */
export function samplesBesideTexts(api) {
  const known = new Map(); // by the demonstration's id; null: there is none any more
  async function ownText(profile, id) {
    if (!known.has(id)) known.set(id, await textOf(api, profile, id));
    return known.get(id);
  }
  return { of: (run) => samplesOf(run, ownText) };
}

async function textOf(api, profile, id) {
  try {
    const path = `/dashboard/demonstrations/${encodeURIComponent(id)}?profile=${encodeURIComponent(profile)}`;
    return (await api.get(path)).completion;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

async function samplesOf(run, ownText) {
  if (run.state !== "running") return null;
  const heading = h("h3", {}, "What the policy writes");
  if (!run.samples.length) {
    return [
      heading,
      h("p", { class: "muted" }, "Samples stand here as soon as they are drawn. They are kept nowhere else."),
    ];
  }
  const ids = [...new Set(run.samples.map((sample) => sample.demonstration_id).reverse())];
  const cards = await Promise.all(
    ids.map(async (id) => {
      const samples = run.samples.filter((sample) => sample.demonstration_id === id).reverse();
      return sampleCard(id, samples, await ownText(run.profile, id));
    }),
  );
  const [latest, others] = [cards.slice(0, MOST_SHOWN), cards.slice(MOST_SHOWN)];
  return [
    heading,
    h("p", { class: "muted" }, "The latest first. What it writes is what it learns to avoid, beside what you wrote."),
    h("div", { class: "stack wide" }, latest),
    others.length
      ? h("details", { class: "wide" }, h("summary", {}, `${others.length} more`), h("div", { class: "stack" }, others))
      : null,
  ];
}

function sampleCard(id, [newest, ...older], own) {
  return h(
    "article",
    { class: "card stack", key: id },
    h("h4", { class: "asked" }, newest.prompt ?? "A prompt that is not known any more"),
    h(
      "div",
      { class: "columns wide" },
      written(`iteration ${newest.iteration + 1}`, newest.text),
      own === null ? null : written("you", own, "mine"),
    ),
    older.length
      ? h(
          "details",
          { class: "small wide" },
          h("summary", {}, `${count(older.length, "sample")} before`),
          h(
            "div",
            { class: "stack" },
            older.map((each) => written(`iteration ${each.iteration + 1}`, each.text)),
          ),
        )
      : null,
  );
}

const written = (who, text, kind = "") =>
  h("div", { class: `written ${kind}` }, h("h5", { class: "small muted" }, who), h("p", { class: "text" }, text));
