// One version: its verdict, what the judges and guards say, what it wrote for the gate, and serving it or not.

import { number, withMinus } from "./charts.js";
import { announce, count, dialog, h, notice, render, table, time } from "./dom.js";

/** Where it is shown. */
export const link = (version) => `#versions/${encodeURIComponent(version)}`;

/** What it is, in a word or two. */
export function badges(version) {
  const verdict = version.promoted ? "better, said the gate" : "kept back by the gate";
  return [
    version.served
      ? h("span", { class: "badge accent" }, "served")
      : version.gone
        ? h("span", { class: "badge" }, version.state_in_words)
        : null,
    h("span", { class: "badge" }, verdict),
    version.tripped.length ? h("span", { class: "badge bad" }, "trips a guard") : null,
    version.pinned ? h("span", { class: "badge" }, "pinned") : null,
  ];
}

export async function showVersion(root, api, wanted) {
  async function refresh() {
    const version = await api.get(`/dashboard/versions/${encodeURIComponent(wanted)}`);
    render(
      root,
      h("p", {}, h("a", { href: "#versions" }, "← All versions")),
      summary(version, api, refresh),
      h("section", { class: "stack" }, h("h2", {}, "Verdict"), verdict(version)),
      judged("Judges", "Each candidate of that update by each judge. The version itself has a star.", version.judges),
      judged(
        "Guards",
        "How many answers of each tripped what. One that trips a guard is out, whatever the judges say.",
        version.guards,
      ),
      written(version.written),
      course(version.course),
    );
  }

  await refresh();
  return { refresh, close() {} };
}

function summary(version, api, changed) {
  const facts = {
    state: version.state_in_words,
    recipe: version.recipe_in_words,
    "over the model": version.base_model,
    made: [time(version.created_at), ` of ${count(version.texts, "text")}`],
    update: h("a", { href: `#learning/${version.run_id}` }, "how it was learnt"),
    id: h("code", {}, version.id.slice(0, 16)),
  };
  return h(
    "section",
    { class: "stack" },
    h("div", { class: "row" }, h("h2", {}, version.name), badges(version)),
    h(
      "dl",
      { class: "facts" },
      Object.entries(facts).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
    version.gone
      ? notice(
          "plain",
          "Its weights are gone: it answers nobody, and cannot be served again.",
          version.receipt ? ` ${version.receipt.cause}, ` : null,
          version.receipt ? time(version.receipt.at) : null,
        )
      : actions(version, api, changed),
  );
}

function actions(version, api, changed) {
  const { name, profile, model, pinned, served } = version;
  return h(
    "div",
    { class: "row" },
    served
      ? h(
          "button",
          { type: "button", key: "back", onclick: () => askToRollBack(api, profile, name, changed) },
          "Roll back…",
        )
      : h(
          "button",
          { type: "button", key: "promote", class: "primary", onclick: () => askToPromote(api, version, changed) },
          "Promote…",
        ),
    h(
      "button",
      { type: "button", key: "pin", onclick: () => askToPin(api, version, changed) },
      pinned ? "Unpin…" : "Pin…",
    ),
    h(
      "a",
      { class: "button", key: "compare", href: comparison("base", model) },
      "Before and after",
    ),
  );
}

export const comparison = (one, other) => `#compare?${new URLSearchParams({ one, other })}`;

/* What can be done to it */

function askToPromote(api, version, changed) {
  const { name, profile, recipe_in_words: recipe, against } = version;
  return dialog({
    title: `Serve ${name}?`,
    body: [
      h(
        "p",
        {},
        `From the next request on, ${profile} is answered by ${name}: ${recipe}. `,
        "An answer that is being written ends as it began. Rolling back returns to what is served now.",
      ),
      against.length
        ? notice(
            "bad",
            h("p", {}, "What spoke against it:"),
            h(
              "ul",
              {},
              against.map((each) => h("li", { class: "sentence" }, each)),
            ),
          )
        : null,
    ],
    confirm: against.length ? "Serve it all the same" : "Serve it",
    danger: against.length > 0,
    action: () => serve(api, { do: "promote", version: name }, `${name} is served.`, changed),
  });
}

export function askToRollBack(api, profile, name, changed) {
  return dialog({
    title: `Roll ${profile} back?`,
    body: h(
      "p",
      {},
      `From the next request on, it serves what it served before ${name}, or base where there was nothing before. `,
      `${name} stays, and can be promoted again.`,
    ),
    confirm: "Roll back",
    action: () => serve(api, { do: "rollback", profile, version: name }, `${profile} was rolled back.`, changed),
  });
}

function askToPin(api, { name, pinned }, changed) {
  return dialog({
    title: pinned ? `Unpin ${name}?` : `Pin ${name}?`,
    body: h(
      "p",
      {},
      pinned
        ? "When the disk budget asks for room, its weights may go. Reasons and figures stay."
        : "Its weights stay, whatever room they take, until it is unpinned or what it learnt from is forgotten.",
    ),
    confirm: pinned ? "Unpin" : "Pin",
    action: () =>
      serve(
        api,
        { do: pinned ? "unpin" : "pin", version: name },
        pinned ? `${name} is unpinned.` : `${name} is pinned.`,
        changed,
      ),
  });
}

async function serve(api, wanted, sentence, changed) {
  await api.post("/dashboard/versions", wanted);
  announce(sentence);
  await changed();
}

/* What is known of it */

function verdict({ promoted, reasons, panel }) {
  return [
    h(
      "p",
      { class: "lead" },
      promoted ? "Better than what was served" : "Not clearly better than what was served, so it was kept back",
    ),
    panel === "-"
      ? null
      : h(
          "p",
          {},
          "The judges together: ",
          h("strong", {}, withMinus(panel)),
          h(
            "span",
            { class: "muted" },
            " against what was served then, in units of how far another seed moves a judge",
          ),
        ),
    h(
      "ul",
      { class: "reasons plain-list" },
      reasons.map((reason) => h("li", { class: "sentence" }, reason)),
    ),
  ];
}

function judged(title, about, { columns, rows, note }) {
  if (!rows.length) return null;
  const cells = rows.map(({ chosen, name, values }) => [
    chosen ? h("span", { class: "chosen" }, name, " ★") : name,
    ...values.map((each) => (each === "-" ? "–" : withMinus(each))),
  ]);
  return h(
    "section",
    { class: "stack", key: title },
    h("h2", {}, title),
    h("p", { class: "muted" }, about),
    table(title, ["candidate", ...columns], cells),
    note ? h("p", { class: "muted small" }, note) : null,
  );
}

function written(prompts) {
  if (!prompts.length) return null;
  return h(
    "section",
    { class: "stack", key: "written" },
    h("h2", {}, "Written for the gate"),
    h(
      "p",
      { class: "muted" },
      "To prompts of held-out texts: what base, what was served then, and what the version itself wrote.",
    ),
    h(
      "div",
      { class: "stack wide" },
      prompts.map(({ prompt, answers }) =>
        h(
          "article",
          { class: "card stack" },
          h("h3", { class: prompt === null ? "muted" : "asked" }, prompt ?? "The prompt is not known any more"),
          h(
            "div",
            { class: "columns wide" },
            answers.map((answer) =>
              h(
                "div",
                { class: "written" },
                h("h4", { class: "small muted" }, answer.title),
                h("p", { class: "text" }, answer.text.trim() ? answer.text : "(nothing)"),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

function course(figures) {
  if (!figures.length) return null;
  const rows = figures.map(({ phase, steps, figure, first, last }) => [
    figure,
    phase,
    steps,
    number(first),
    number(last),
  ]);
  const heads = ["figure", "stage", "steps", "first", "last"];
  return h(
    "details",
    { key: "course" },
    h("summary", {}, h("h2", {}, "How learning went")),
    table("How learning went", heads, rows),
  );
}
