// Forgetting: says what would go, then lets it go when the person still wants it to.

import { act, announce, clear, count, dialog, h, notice, render, table } from "./dom.js";

const KINDS = {
  text: "one text",
  file: "all of a file, or of a folder",
  voice: "a whole voice: its texts, versions, answers and feedback",
  waiting: "what has gone from the folder and waits for your word",
};
const STAYS = "Files stay where they are. What they say is not learnt from again until the text itself changes.";
const FIRST_WORDS = 80; // of a prompt, in a list

/** `query` may name a text or a file ("forget") and its voice ("profile"). `changed` is called when something went. */
export function forgetting(api, query, changed) {
  const voice = h("select", { id: "forget-voice" });
  const target = h("input", {
    id: "forget-target",
    list: "forget-known",
    autocomplete: "off",
    value: query.get("forget") ?? "",
  });
  const known = h("datalist", { id: "forget-known" });
  const label = h("label", { for: "forget-target" });
  const which = h("div", { class: "field" }, label, target, known);
  const whose = h("div", { class: "field" }, h("label", { for: "forget-voice" }, "Voice"), voice);
  const said = h("div", {});
  const outcome = h("div", { class: "stack wide" });
  const ask = h("button", { type: "submit" }, "Show what would go");
  const kinds = Object.entries(KINDS).map(([kind, words]) =>
    h(
      "label",
      { class: "check" },
      h("input", { type: "radio", name: "forget-kind", value: kind, checked: kind === "text" }),
      words,
    ),
  );
  const choice = h("fieldset", {}, h("legend", {}, "What"), kinds);
  const form = h(
    "form",
    { class: "card stack" },
    choice,
    h("div", { class: "columns wide" }, whose, which),
    h("div", { class: "row" }, ask),
    said,
    outcome,
  );
  const kindNow = () => choice.querySelector("input:checked").value;

  function wanted() {
    if (kindNow() === "voice") return { profile: voice.value };
    return kindNow() === "waiting" ? { waiting: true } : { targets: [target.value.trim()] };
  }

  async function drawKnown() {
    const kind = kindNow();
    whose.hidden = kind === "waiting";
    which.hidden = kind === "waiting" || kind === "voice";
    target.required = !which.hidden;
    render(
      label,
      kind === "file" ? "File, or folder, in the watched folder" : "Text: a word of its prompt, then choose; or its id",
    );
    clear(known);
    if (which.hidden || !voice.value) return;
    const found = await api.get(`/dashboard/voices/${encodeURIComponent(voice.value)}`);
    render(known, kind === "file" ? fileOptions(found) : textOptions(found));
  }

  async function rehearse() {
    clear(outcome);
    const asked = wanted();
    const { receipts } = await api.post("/dashboard/forget", { ...asked, rehearse: true });
    render(
      outcome,
      wouldGo(receipts, () => void askOnce(asked, receipts)),
    );
  }

  const askOnce = (asked, receipts) =>
    dialog({
      title: `Forget ${textsOf(receipts)}, for good?`,
      body: [h("p", {}, consequences(receipts)), h("p", { class: "muted" }, STAYS)],
      confirm: "Forget",
      danger: true,
      action: async () => {
        const done = await api.post("/dashboard/forget", { ...asked, texts: textCount(receipts), rehearse: false });
        target.value = "";
        render(outcome, forgotten(done));
        await changed();
      },
    });

  form.onsubmit = (event) => {
    event.preventDefault();
    void act(ask, said, rehearse);
  };
  form.oninput = () => clear(outcome); // what was rehearsed is not what is asked for now
  choice.onchange = voice.onchange = () => drawKnown().catch((error) => render(said, notice("bad", error.message)));

  async function begin() {
    const { profiles } = await api.get("/dashboard/voices");
    render(
      voice,
      profiles.map(({ name }) => h("option", { value: name }, name)),
    );
    const fullest = [...profiles].sort((one, other) => other.demonstrations - one.demonstrations)[0];
    voice.value = query.get("profile") ?? fullest?.name ?? "";
    await drawKnown();
    if (query.has("forget")) target.focus();
  }

  const element = h(
    "section",
    { class: "stack" },
    h("h2", {}, "Forget"),
    h(
      "p",
      { class: "muted" },
      "Takes a text away from every version that has learnt from it: their weights are destroyed, and learnt again ",
      "without it. You see first what would go.",
    ),
    form,
  );
  return { element, begin };
}

function textOptions({ demonstrations }) {
  return demonstrations.map(({ id, prompt }) => h("option", { value: id.slice(0, 12) }, prompt.slice(0, FIRST_WORDS)));
}

const fileOptions = ({ files }) => files.map(({ path }) => h("option", { value: path }));

const textCount = (receipts) => receipts.reduce((sum, { demonstrations }) => sum + demonstrations, 0);
const textsOf = (receipts) => count(textCount(receipts), "text");
const versionsOf = (receipts) => receipts.flatMap(({ adapters }) => adapters);

function consequences(receipts) {
  const versions = versionsOf(receipts);
  if (!versions.length) return "No version has learnt from it: nothing else changes.";
  const instead = receipts
    .filter(({ adapters }) => adapters.length)
    .map((each) => `${each.profile} then serves ${each.replaced_by}`);
  return `The weights of ${versions.join(", ")} are destroyed. ${instead.join("; ")}.`;
}

function wouldGo(receipts, forget) {
  if (!receipts.length) return notice("plain", "Nothing was learnt from that.");
  const rows = receipts.map((each) => [
    each.profile,
    each.demonstrations,
    each.adapters.join(", ") || "none",
    each.replaced_by || "unchanged",
  ]);
  return [
    table("What would go", ["voice", "texts", "versions", "served then"], rows),
    h("button", { type: "button", class: "danger", onclick: forget }, `Forget ${textsOf(receipts)}…`),
  ];
}

function forgotten({ receipts, finished }) {
  const rest = finished ? "All of it is gone." : "The rest of it goes when the engine has ended its step.";
  const sentence = `Forgotten: ${textsOf(receipts)}. ${rest}`;
  announce(sentence);
  return notice("good", sentence);
}
