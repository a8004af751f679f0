// Voices: per profile what is learnt from, what is held out, and what was cut and masked and why.

import { link, showDemonstration, total, useOf, why } from "./demonstration.js";
import { announce, count, h, notice, render, table, time, whole } from "./dom.js";

export const title = "Voices";
export const views = ["voices"];

const searches = new Map(); // by profile, for whoever comes back; in no address, as browsers keep and share those
const PAUSE = 250; // milliseconds after the last key, before a search is asked for
const USES = [
  // as the server calls them, and as a filter does
  ["learn", "Learnt from"],
  ["hold out", "Held out"],
  ["spare", "Spare"],
  ["copy", "Copies"],
  ["excluded", "Excluded"],
];

export async function show(root, api, { rest: [profile, item], query }) {
  if (!profile) return overview(root, api);
  if (item === "files") return files(root, api, profile);
  if (item) return showDemonstration(root, api, profile, item);
  return list(root, api, profile, query);
}

/* Every voice. */

async function overview(root, api) {
  const { profiles, watched_folder: folder } = await api.get("/dashboard/voices");
  const draw = (found) =>
    render(
      root,
      found.some((each) => each.demonstrations + each.files > 0) ? null : empty(folder),
      h("div", { class: "columns" }, found.map(card)),
      h(
        "p",
        { class: "muted" },
        "A voice is a sub-folder of ",
        h("code", {}, folder),
        ". Files at its top belong to “default”. ",
        "Only what you wrote yourself is learnt from: quotations, signatures and other people’s words are cut, secrets masked.",
      ),
    );
  draw(profiles);
  return { refresh: async () => draw((await api.get("/dashboard/voices")).profiles), close() {} };
}

function empty(folder) {
  return h(
    "p",
    { class: "lead" },
    "Nothing has been read yet. Put mails you sent, or texts you wrote, into ",
    h("code", {}, folder),
    ".",
  );
}

function card(voice) {
  const facts = [
    ["learnt from", voice.learn],
    ["held out to judge by", voice.held_out],
    ["excluded by you", voice.excluded],
    ["files", voice.files, link(voice.name, "files")],
    ["files set aside", voice.set_aside, link(voice.name, "files")],
    ["secrets masked", total(voice.masked)],
    ["lines cut", total(voice.removed)],
  ];
  return h(
    "article",
    { class: "card stack", key: voice.name },
    h("h2", {}, h("a", { href: link(voice.name) }, voice.name)),
    h(
      "p",
      {},
      h("span", { class: "figure" }, count(voice.demonstrations, "text")),
      h("span", { class: "muted" }, `, ${count(voice.words, "word")}`),
    ),
    h("p", { class: "muted" }, "served as ", h("code", {}, voice.alias)),
    h(
      "dl",
      { class: "facts" },
      facts
        .filter(([name, value]) => value || name === "learnt from")
        .map(([name, value, href]) => [
          h("dt", {}, name),
          h("dd", {}, href ? h("a", { href }, whole(value)) : whole(value)),
        ]),
    ),
  );
}

/* One voice. */

function top(voice, current) {
  const tab = (name, href, words) => h("a", { href, "aria-current": name === current ? "page" : null }, words);
  return h(
    "div",
    { class: "stack", key: "top" },
    h("p", { class: "small" }, h("a", { href: "#voices" }, "All voices")),
    h("h2", {}, voice.name),
    h(
      "nav",
      { class: "tabs wide", "aria-label": `What there is of ${voice.name}` },
      tab("texts", link(voice.name), "Texts"),
      tab("files", link(voice.name, "files"), `Files (${voice.files.length + (voice.more_files ?? 0)})`),
    ),
  );
}

async function list(root, api, profile, query) {
  let search = searches.get(profile) ?? "";
  let use = query.get("use") ?? "";
  let voice = null;
  let typed = null;
  let asked = 0;
  const found = h("div", { class: "page" });

  async function load() {
    const mine = ++asked;
    const fresh = await api.get(
      `/dashboard/voices/${encodeURIComponent(profile)}?search=${encodeURIComponent(search)}`,
    );
    if (mine === asked) voice = fresh;
  }

  function draw() {
    const wanted = voice.demonstrations.filter((each) => !use || each.use === use);
    render(found, results(voice, wanted, search || use));
    return wanted.length;
  }

  function keep() {
    searches.set(profile, search);
    history.replaceState(null, "", use ? `${link(profile)}?${new URLSearchParams({ use })}` : link(profile));
  }

  async function again() {
    keep();
    try {
      await load();
      announce(`${count(draw(), "text")} found`);
    } catch (error) {
      render(found, notice("bad", error.message));
    }
  }

  const onSearch = (event) => {
    search = event.target.value;
    clearTimeout(typed);
    typed = setTimeout(again, PAUSE);
  };
  const onUse = (event) => {
    use = event.target.value;
    void again();
  };
  await load();
  render(root, top(voice, "texts"), filters(search, use, onSearch, onUse), found);
  draw();
  return {
    async refresh() {
      await load();
      draw();
    },
    close: () => clearTimeout(typed),
  };
}

function filters(search, use, onSearch, onUse) {
  const options = [["", "All texts"], ...USES].map(([value, words]) =>
    h("option", { value, selected: value === use }, words),
  );
  return h(
    "search",
    { class: "filters", key: "filters" },
    h(
      "div",
      { class: "field" },
      h("label", { for: "search" }, "Search"),
      h("input", {
        id: "search",
        type: "search",
        value: search,
        autocomplete: "off",
        spellcheck: "false",
        oninput: onSearch,
      }),
    ),
    h(
      "div",
      { class: "field" },
      h("label", { for: "use" }, "Show"),
      h("select", { id: "use", onchange: onUse }, options),
    ),
  );
}

function results(voice, wanted, filtered) {
  if (!wanted.length)
    return h(
      "p",
      { class: "muted" },
      filtered ? "No text of this voice is like that." : "This voice has no texts yet.",
    );
  return [
    h(
      "ul",
      { class: "texts" },
      wanted.map((each) => entry(voice.name, each)),
    ),
    voice.more ? h("p", { class: "muted" }, `and ${count(voice.more, "older one")}: search for them.`) : null,
  ];
}

function entry(profile, each) {
  return h(
    "li",
    { class: each.excluded ? "faded" : null, key: each.id },
    h("p", { class: "prompt" }, h("a", { href: link(profile, each.id) }, oneLine(each.prompt))),
    h("p", { class: "beginning" }, oneLine(each.completion)),
    h(
      "p",
      { class: "row small muted" },
      useOf(each),
      h("span", {}, why(each)),
      time(each.written_at),
      h("span", {}, count(each.words, "word")),
    ),
  );
}

const oneLine = (text) => text.slice(0, 400).replace(/\s+/g, " ");

/* The files of a voice. */

async function files(root, api, profile) {
  async function draw() {
    const voice = await api.get(`/dashboard/voices/${encodeURIComponent(profile)}?search=`);
    render(root, top(voice, "files"), fileTables(voice.files, voice.more_files));
  }
  await draw();
  return { refresh: draw, close() {} };
}

function fileTables(found, more) {
  const aside = found.filter((each) => each.state === "set_aside");
  const read = found.filter((each) => each.state !== "set_aside");
  return [
    aside.length
      ? h(
          "section",
          { class: "stack", key: "aside" },
          h("h3", {}, "Set aside"),
          h("p", { class: "muted" }, "Nothing is learnt from these; the reason says what would help."),
          table(
            "Files that are set aside",
            ["File", "Why", "When"],
            aside.map((each) => [h("code", {}, each.path), each.reason, time(each.read_at)]),
          ),
        )
      : null,
    h(
      "section",
      { class: "stack", key: "read" },
      h("h3", {}, "Read"),
      read.length
        ? table(
            "Files that were read",
            ["File", "Cut from it", "Masked in it", "Not learnt from", "When"],
            read.map(fileRow),
          )
        : h("p", { class: "muted" }, "No file of this voice has been read."),
      more ? h("p", { class: "muted" }, `and ${count(more, "other file")}.`) : null,
      h(
        "p",
        { class: "muted" },
        "Line by line, without storing anything: ",
        h("code", {}, "dittod ingest --dry-run PATH"),
      ),
    ),
  ];
}

function fileRow(file) {
  const whyNot = Object.keys(file.reasons ?? {}).length ? tally(file.reasons) : file.reason || "–";
  return [h("code", {}, file.path), tally(file.removed, "line"), tally(file.masked), whyNot, time(file.read_at)];
}

/** "quotation: 12 lines", one under the other. */
function tally(counts, noun) {
  const found = Object.entries(counts ?? {});
  if (!found.length) return "–";
  return h(
    "ul",
    { class: "plain-list" },
    found.map(([reason, number]) => h("li", {}, `${reason}: ${noun ? count(number, noun) : number}`)),
  );
}
