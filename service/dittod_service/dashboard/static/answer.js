// One answer, as it is written: who wrote it (once that may be known), choosing it, and editing and keeping it.

import { act, clear, h, notice, render } from "./dom.js";

const BASE = "base";
const KEPT = {
  // what became of an edited answer
  demonstration: (voice) => `Kept: it is a text of ${voice} now, and the next update learns from it.`,
  rejected: (voice) =>
    `It is too short to learn a manner from. The next update of ${voice} learns to avoid the answer.`,
  noted: () => "You have changed nothing, so the answer counts as one that you liked.",
};
const ENDED = { length: "It was cut at the limit.", content_filter: "It was held back." };

/** heading: what stands over it until `reveal`. other: the model beside it, whose voice learns where base is edited. */
export function answerPanel(api, { prompt, model, other, heading }) {
  const name = h("h3", {}, heading);
  const words = document.createTextNode("");
  const text = h("p", { class: "text wide" }, words);
  const remarks = h("div", { class: "stack" });
  const tools = h("div", { class: "stack wide" });
  const element = h("article", { class: "card stack answer", "aria-busy": "true" }, name, text, remarks, tools);
  const panel = { element, model, failed: null, adapter: null, write, offer, reveal };
  let answer = null; // what api.ask resolved to
  let ended = ""; // said at once: it gives nobody away

  async function write(body, signal) {
    try {
      answer = await api.ask({ ...body, model }, (piece) => words.appendData(piece), signal);
      panel.adapter = answer.adapter;
      ended = answer.text.trim() ? (ENDED[answer.finish] ?? "") : "It wrote nothing.";
    } catch (error) {
      panel.failed = error;
      ended = signal.aborted ? "It was stopped." : "It could not answer.";
    }
    element.removeAttribute("aria-busy");
    render(remarks, ended ? h("p", { class: "muted" }, ended) : null);
  }

  function offer(choose, said) {
    const button = h("button", { type: "button", class: "primary" }, "This one is mine");
    button.onclick = () => act(button, said, choose);
    render(tools, button);
  }

  function reveal() {
    const { failed } = panel;
    render(name, model);
    render(
      remarks,
      ended ? h("p", { class: "muted" }, ended) : null,
      answer?.note ? notice("plain", h("p", { class: "sentence" }, answer.note)) : null,
      failed && failed.name !== "AbortError" ? notice("bad", failed.message) : null,
    );
    const voice = [model, other].find((each) => each !== BASE);
    clear(tools);
    if (answer?.text.trim() && voice) tools.append(editor(api, { prompt, answer: answer.text, model: voice }));
  }

  return panel;
}

/* Editing it, and keeping what it should have been */

function editor(api, remark) {
  const root = h("div", { class: "stack wide" });
  const said = h("div", {});
  const begin = h("button", { type: "button" }, "Edit and keep…");
  const id = `edited-${Math.random().toString(36).slice(2)}`;
  const area = h("textarea", { id, rows: 8, maxlength: 100000, autocomplete: "off" });
  const save = h("button", { type: "button", class: "primary" }, "Keep it");
  const cancel = h("button", { type: "button" }, "Cancel");
  const field = [
    h(
      "div",
      { class: "field" },
      h("label", { for: id }, `What it should have been, in the voice ${remark.model}`),
      area,
    ),
  ];

  function fold(...left) {
    root.replaceChildren(begin, ...left);
    begin.focus();
  }

  begin.onclick = () => {
    area.value = remark.answer;
    clear(said);
    root.replaceChildren(...field, h("div", { class: "row" }, save, cancel), said);
    area.focus();
  };
  cancel.onclick = () => fold();
  save.onclick = () =>
    act(save, said, async () => {
      const kept = await api.post("/v1/feedback", { ...remark, edited: area.value });
      fold(notice("good", KEPT[kept.outcome](kept.profile)));
    });
  root.append(begin);
  return root;
}
