// Versions: what each voice serves, all that was made, and what was forgotten.

import { withMinus } from "./charts.js";
import { count, h, render, table, time } from "./dom.js";
import { forgetting } from "./forgetting.js";
import { askToRollBack, badges, comparison, link, showVersion } from "./version.js";

export const title = "Versions";
export const views = ["versions", "receipts"];

export function show(root, api, { rest: [wanted], query }) {
  return wanted ? showVersion(root, api, wanted) : showAll(root, api, query);
}

async function showAll(root, api, query) {
  const [served, made, receipts] = [1, 2, 3].map(() => h("section", { class: "stack" }));
  const forget = forgetting(api, query, () => refresh());

  async function refresh() {
    const found = await api.get("/dashboard/versions");
    render(served, servedNow(found, api, refresh));
    render(made, allMade(found.versions));
    render(receipts, receiptsOf(found.receipts));
  }

  await refresh();
  render(root, served, made, forget.element, receipts);
  await forget.begin();
  return { refresh, close() {} };
}

function servedNow({ served, versions }, api, changed) {
  const cards = Object.entries(served).map(([profile, name]) => {
    const version = versions.find((each) => each.name === name);
    return h(
      "article",
      { class: "card stack", key: profile },
      h("h3", {}, profile),
      version
        ? h("p", {}, h("a", { href: link(name), class: "lead" }, name), ": ", version.recipe_in_words)
        : h(
            "p",
            {},
            h("span", { class: "lead" }, name),
            name === "base" ? ": the model as it came, without your texts" : "",
          ),
      version
        ? h(
            "div",
            { class: "row" },
            h(
              "button",
              { type: "button", onclick: () => askToRollBack(api, profile, name, changed) },
              "Roll back…",
              h("span", { class: "unseen" }, ` ${profile}`),
            ),
            h("a", { class: "button", href: comparison("base", version.model) }, "Before and after"),
          )
        : null,
    );
  });
  return [
    h("h2", {}, "Served now"),
    h(
      "p",
      { class: "muted" },
      "What answers when a client asks for a voice. The gate changes it only for something better, by more than chance; ",
      "you may overrule it.",
    ),
    cards.length ? h("div", { class: "columns wide" }, cards) : h("p", {}, "There is no voice yet."),
  ];
}

function allMade(versions) {
  const rows = versions.map((version) =>
    h(
      "li",
      { key: version.id, class: version.gone ? "gone" : null },
      h(
        "div",
        { class: "row" },
        h("h3", {}, h("a", { href: link(version.name) }, version.name)),
        badges(version),
      ),
      h("p", {}, version.recipe_in_words),
      h("p", { class: "muted small sentence" }, version.first_reason),
      h(
        "p",
        { class: "muted small" },
        "Made ",
        time(version.created_at),
        ` of ${count(version.texts, "text")}`,
        version.panel === "-" ? "" : `; the judges together: ${withMinus(version.panel)}`,
      ),
    ),
  );
  return [
    h("h2", {}, "All versions"),
    h(
      "p",
      { class: "muted" },
      "Every update leaves one, served or not, with the reasons of the gate. The judges’ figure is by how much they ",
      "prefer it to what was served then, with its interval: above 0 is better.",
    ),
    rows.length
      ? h("ul", { class: "plain-list rows wide" }, rows)
      : h("p", {}, "None so far: an update makes the first."),
  ];
}

function receiptsOf(receipts) {
  const rows = [...receipts]
    .sort((one, other) => other.at - one.at)
    .map((each) => [
      time(each.at),
      each.profile,
      each.demonstrations,
      each.cause,
      withdrawn(each),
      each.finished ? "all gone" : "not all gone yet",
    ]);
  return [
    h("h2", {}, "Receipts"),
    h(
      "p",
      { class: "muted" },
      "What was forgotten, by you or because its file went, and which versions went with it. ",
      "No text, and no name of a file.",
    ),
    rows.length
      ? table("Receipts", ["when", "voice", "texts", "reason", "versions", "state"], rows)
      : h("p", {}, "Nothing was forgotten so far."),
  ];
}

const withdrawn = ({ adapters, replaced_by: instead }) =>
  adapters.length ? `${adapters.join(", ")} withdrawn; ${instead} served since` : "none had learnt from it";
