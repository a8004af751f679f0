// One text of a voice: both its halves, what becomes of it, and what can be changed about that.

import { act, clear, count, h, notice, render, time } from "./dom.js";

/** The place of a voice, or of what is below it. */
export const link = (...parts) => `#voices/${parts.map(encodeURIComponent).join("/")}`;

/** The reason without its beginning, which the badge beside it says. */
export const why = (each) => each.reason.replace(/^(excluded |[^:]*: )/, "");

export function useOf(each) {
  const words = { learn: "learnt from", "hold out": "held out" }[each.use] ?? each.use;
  return h("span", { class: each.use === "learn" ? "badge accent" : "badge" }, words);
}

export const total = (counts) => Object.values(counts ?? {}).reduce((sum, each) => sum + each, 0);

/** The page of one text. */
export async function showDemonstration(root, api, profile, id) {
  const ofPrompt = h("div", { class: "wide" }); // what is said of the last change of each
  const ofUse = h("div", { class: "wide" });
  const state = { one: null, editing: false, busy: false };
  const path = () => `/dashboard/demonstrations/${encodeURIComponent(state.one?.id ?? id)}`;

  /** What was asked for before a change does not count after it. */
  async function load() {
    const asked = path();
    try {
      const one = await api.get(`${asked}?profile=${encodeURIComponent(profile)}`);
      if (!state.busy && asked === path()) state.one = one;
    } catch (error) {
      if (asked === path()) throw error;
    }
  }

  /** With another prompt the text has another id, under which it is found again. */
  async function change(button, box, body, done) {
    state.busy = true;
    const good = await act(button, box, async () => {
      state.one = await api.post(path(), { profile, ...body });
      state.editing = false;
      history.replaceState(null, "", link(profile, state.one.id));
    });
    state.busy = false;
    if (!good) return;
    draw();
    render(box, notice("good", done(state.one)));
  }

  const changePrompt = (button, body, done) => change(button, ofPrompt, body, done);
  const changeUse = (button, body, done) => change(button, ofUse, body, done);

  function edit(editing) {
    state.editing = editing;
    clear(ofPrompt);
    draw();
    root.querySelector(editing ? "textarea" : ".edit").focus();
  }

  function draw() {
    const { one, editing } = state;
    render(
      root,
      h("p", { class: "small" }, h("a", { href: link(profile) }, `All of ${profile}`)),
      h(
        "section",
        { class: "stack", "aria-labelledby": "prompt-heading", key: "prompt" },
        h("h2", { id: "prompt-heading" }, "What was asked"),
        editing ? editor(one, changePrompt, () => edit(false)) : prompt(one, () => edit(true), changePrompt),
        ofPrompt,
      ),
      h(
        "section",
        { class: "stack", "aria-labelledby": "completion-heading", key: "completion" },
        h("h2", { id: "completion-heading" }, "What you wrote"),
        h("div", { class: "card text wide" }, one.completion),
      ),
      h(
        "section",
        { class: "stack", "aria-labelledby": "about-heading", key: "about" },
        h("h2", { id: "about-heading" }, "What becomes of it"),
        about(one),
        actions(one, changeUse),
        ofUse,
      ),
    );
  }

  await load();
  draw();
  return {
    async refresh() {
      if (state.busy) return;
      await load();
      if (!state.busy) draw();
    },
    close() {},
  };
}

const AUTHORS = { template: "the template", file: "the file it stands in", user: "you", model: "the model" };

function prompt(one, onEdit, change) {
  const back = (event) =>
    change(
      event.currentTarget,
      { template: true },
      () => "It has the template’s prompt again, from the next update on.",
    );
  const edited = one.prompt !== one.template;
  const by = one.prompt_by === "user" && !edited ? "template" : one.prompt_by; // it went back to it
  return [
    h("div", { class: "card text wide", key: "prompt-text" }, one.prompt),
    h(
      "p",
      { class: "muted small", key: "prompt-by" },
      `This prompt is by ${AUTHORS[by]}. It should be what you would ask for to get this text.`,
    ),
    h(
      "div",
      { class: "row", key: "prompt-buttons" },
      h("button", { type: "button", class: "edit", onclick: onEdit }, "Edit the prompt"),
      edited ? h("button", { type: "button", onclick: back }, "Back to the template’s") : null,
    ),
    edited
      ? h(
          "details",
          { class: "wide", key: "template" },
          h("summary", {}, "The template’s prompt"),
          h("p", { class: "text muted" }, one.template),
        )
      : null,
  ];
}

function editor(one, change, onCancel) {
  const text = h("textarea", { id: "prompt-editor", rows: 5, value: one.prompt, "aria-describedby": "prompt-hint" });
  const save = h("button", { type: "submit", class: "primary" }, "Save");
  const onsubmit = (event) => {
    event.preventDefault();
    const area = event.currentTarget.querySelector("textarea");
    void change(event.currentTarget.querySelector(".primary"), { prompt: area.value }, saved);
  };
  const onkeydown = (event) => {
    if (event.key === "Escape") onCancel();
  };
  return h(
    "form",
    { class: "stack wide", onsubmit, onkeydown, key: "editor" },
    h("div", { class: "field wide" }, h("label", { for: "prompt-editor" }, "The prompt"), text),
    h(
      "p",
      { class: "muted small", id: "prompt-hint" },
      "What you would ask for to get this text. Secrets in it are masked.",
    ),
    h("div", { class: "row" }, save, h("button", { type: "button", onclick: onCancel }, "Cancel")),
  );
}

function saved(one) {
  if (one.changed === false) return "It has this prompt already.";
  const secrets = total(one.masked);
  return `Saved. The next update learns with this prompt${secrets ? `; ${count(secrets, "secret")} in it masked` : ""}.`;
}

function about(one) {
  const facts = [
    ["Use", [useOf(one), " ", why(one)]],
    ["Kind", one.kind],
    ["Written", time(one.written_at)],
    ["Length", count(one.words, "word")],
    [one.files.length === 1 ? "File" : "Files", one.files.map((each) => h("div", {}, h("code", {}, each)))],
    ["Id", h("code", {}, one.id.slice(0, 8))],
  ];
  return h(
    "dl",
    { class: "facts", key: "facts" },
    facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

function actions(one, change) {
  const words = one.excluded ? "Include it again" : "Exclude it";
  const done = (now) => {
    if (!now.excluded) return "Included again, from the next update on.";
    return `Excluded, from the next update on.${now.served_has_learnt ? " What is served now has learnt from it: on Versions you can go back, or forget it." : ""}`;
  };
  return [
    h(
      "div",
      { class: "row", key: "actions" },
      h(
        "button",
        { type: "button", onclick: (event) => change(event.currentTarget, { excluded: !one.excluded }, done) },
        words,
      ),
    ),
    h(
      "p",
      { class: "muted small", key: "forgetting" },
      "An excluded text is kept, and neither learnt from nor judged by. ",
      "To have it out of every version: ",
      h("a", { href: `#versions?${new URLSearchParams({ forget: one.id, profile: one.profile })}` }, "forget it"),
      ".",
    ),
  ];
}
