// Connect: ready settings for each client, with the token hidden until it is asked for.

import { act, announce, count, h, notice, render } from "./dom.js";

export const title = "Connect";
export const views = [];

const TOKEN = "«TOKEN»"; // what stands in texts in its place
const HIDDEN = "••••••••";

export async function show(root, api, { rest: [name] }) {
  const { url, clients } = await api.get("/dashboard/connect");
  const secret = { token: null };
  const draw = () => {
    const client = clients.find((each) => each.name === name);
    const key = keyBox(api, secret, draw);
    if (name)
      render(
        root,
        back(),
        client ? oneClient(api, client, secret, key) : notice("bad", `There is no client called ${name} here.`),
      );
    else render(root, address(api, url, secret, key), all(clients));
  };
  draw();
  return {
    async refresh() {},
    close: () => {
      secret.token = null;
    },
  };
}

const back = () => h("p", { class: "small", key: "back" }, h("a", { href: "#connect" }, "All clients"));

/* What every client needs. */

function address(api, url, secret, key) {
  return h(
    "section",
    { class: "stack", "aria-labelledby": "needs", key: "needs" },
    h("h2", { id: "needs" }, "What every client needs"),
    h(
      "dl",
      { class: "facts wide" },
      h("dt", {}, "Address"),
      h("dd", {}, h("div", { class: "row" }, h("code", {}, url), copy(api, secret, url, "the address"))),
      h("dt", {}, "Model"),
      h(
        "dd",
        {},
        h("code", {}, "ditto"),
        " – your voice, or one of your voices: ",
        h("code", {}, "ditto/email"),
        ". ",
        h("code", {}, "base"),
        " is the model as it was.",
      ),
      h("dt", {}, "Key"),
      h("dd", {}, key),
    ),
    h(
      "p",
      { class: "muted" },
      "Whoever has the key can ask this dittod, and see what it has learnt. It stays on this machine; ",
      h("code", {}, "dittod token"),
      " prints it, too.",
    ),
  );
}

function keyBox(api, secret, draw) {
  const trouble = h("div", { class: "wide" });
  const toggle = (event) =>
    act(event.currentTarget, trouble, async () => {
      secret.token = secret.token === null ? (await api.get("/dashboard/token")).token : null;
      draw();
      announce(secret.token === null ? "The key is hidden." : "The key is shown.");
    });
  const shown = secret.token !== null;
  return h(
    "div",
    { class: "stack" },
    h(
      "div",
      { class: "row" },
      h("code", { class: "key" }, shown ? secret.token : HIDDEN),
      h("button", { type: "button", "aria-pressed": shown ? "true" : "false", onclick: toggle }, "Show the key"),
      copy(api, secret, TOKEN, "the key"),
    ),
    trouble,
  );
}

function all(clients) {
  return h(
    "section",
    { class: "stack", "aria-labelledby": "clients", key: "clients" },
    h("h2", { id: "clients" }, "Clients"),
    h(
      "ul",
      { class: "columns narrow plain-list wide" },
      clients.map((each) =>
        h(
          "li",
          { class: "card stack", key: each.name },
          h("h3", {}, h("a", { href: `#connect/${encodeURIComponent(each.name)}` }, each.title)),
          h("p", { class: "muted" }, each.about),
        ),
      ),
    ),
  );
}

/* One client. */

function oneClient(api, client, secret, key) {
  return h(
    "section",
    { class: "page", "aria-labelledby": "client", key: client.name },
    h(
      "div",
      { class: "stack" },
      h("h2", { id: "client" }, client.title),
      h("p", { class: "muted" }, client.about),
      client.tried ? null : h("p", {}, h("span", { class: "badge" }, "made from its documentation, not tried")),
    ),
    client.command.endsWith("--write")
      ? h(
          "div",
          { class: "stack" },
          h("h3", {}, "In one step"),
          h(
            "p",
            {},
            "In a terminal, this puts the settings below where they belong, keeps a copy of what was there, and proves with a request that it works:",
          ),
          block(api, secret, client.command),
        )
      : null,
    h(
      "div",
      { class: "stack" },
      h("h3", {}, client.command.endsWith("--write") ? "By hand" : "Settings"),
      client.parts.map((part) => settings(api, part, secret)),
      client.steps.length ? h("p", {}, client.parts.length ? "Then:" : "So:") : null,
      h(
        "ul",
        {},
        client.steps.map((step) => h("li", {}, step)),
      ),
      needs(client),
    ),
    h("div", { class: "stack" }, h("h3", {}, "The key"), key),
    h(
      "div",
      { class: "stack" },
      h("h3", {}, "Prove that it works"),
      h("p", {}, "This asks dittod exactly as these settings say, and prints who answered:"),
      block(api, secret, `dittod connect ${client.name}`),
    ),
  );
}

/** What is set at this end. */
function needs(client) {
  const tokens = client.least_tokens
    ? h(
        "p",
        { class: "muted" },
        `It sends ${count(client.least_tokens, "token")} before your first word: the base model's context has to be longer.`,
      )
    : null;
  const origins = client.origins?.length
    ? h(
        "p",
        { class: "muted" },
        "It asks as a web page: put ",
        client.origins.map((each) => [h("code", {}, each), " "]),
        "into ",
        h("code", {}, "allowed_origins"),
        " in ",
        h("code", {}, "dittod.toml"),
        ".",
      )
    : null;
  return [tokens, origins];
}

function settings(api, part, secret) {
  return h(
    "figure",
    { class: "stack wide" },
    part.path ? h("figcaption", {}, "in ", h("code", {}, part.path)) : null,
    block(api, secret, part.text),
  );
}

function block(api, secret, text) {
  const seen = text.replaceAll(TOKEN, secret.token ?? HIDDEN);
  return h(
    "div",
    { class: "block wide" },
    h("pre", { class: "command", tabindex: 0, role: "group", "aria-label": "Settings" }, h("code", {}, seen)),
    copy(api, secret, text, "this"),
  );
}

/** Copies a text with the key in it, whether or not it is shown. */
function copy(api, secret, text, what) {
  const said = h("span", { class: "small", role: "status" });
  const onclick = (event) =>
    act(event.currentTarget, said, async () => {
      const token = text.includes(TOKEN) ? (secret.token ?? (await api.get("/dashboard/token")).token) : "";
      await write(text.replaceAll(TOKEN, token));
      said.textContent = text.includes(TOKEN) && text !== TOKEN ? "copied, with your key in it" : "copied";
    });
  return h(
    "span",
    { class: "row copy" },
    h("button", { type: "button", "aria-label": `Copy ${what}`, onclick }, "Copy"),
    said,
  );
}

async function write(text) {
  if (!navigator.clipboard)
    throw new Error("This browser lets no page copy over an unencrypted address: select the text instead.");
  await navigator.clipboard.writeText(text);
}
