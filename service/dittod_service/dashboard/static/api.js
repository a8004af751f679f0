// Asks dittod: its own documents, and answers as any client would. Knows nothing of pages.

const KEY = "dittod_page_key"; // the half of the session that only this address can read; the other half is a cookie

/** What dittod answered with, where it did not do what was asked. */
export class ApiError extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** It did not answer at all. */
export class Gone extends Error {
  constructor() {
    super("dittod does not answer. Is it running? It starts with: dittod run");
  }
}

export const isSignedIn = () => localStorage.getItem(KEY) !== null;

/** Called when a session is over while pages are open. */
export const whenSignedOut = { call: () => {} };

function forgetSession() {
  localStorage.removeItem(KEY);
  whenSignedOut.call();
}

async function request(method, path, body, signal) {
  const headers = { Accept: "application/json", "X-Dittod-Page": localStorage.getItem(KEY) ?? "" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, {
      method,
      headers,
      signal,
      cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Gone();
  }
}

async function refusal(response) {
  let said = {};
  try {
    said = (await response.json()).error ?? {};
  } catch {
    // not dittod's own words
  }
  return new ApiError(
    sentences(said.message ?? `dittod answered with ${response.status}.`),
    response.status,
    said.code,
  );
}

/** A title and a hint, each of which begins as it would in the middle of a line. */
const sentences = (message) =>
  message.replace(/(^|\. )(\p{Ll})/gu, (_, before, letter) => before + letter.toUpperCase());

async function checked(response) {
  if (response.ok) return response;
  const error = await refusal(response);
  if (response.status === 401) forgetSession();
  throw error;
}

async function json(method, path, body, signal) {
  const response = await checked(await request(method, path, body, signal));
  return response.status === 204 ? null : response.json();
}

export const get = (path, signal) => json("GET", path, undefined, signal);
export const post = (path, body, signal) => json("POST", path, body, signal);

/** Turns the code of a link that `dittod open` made into a session of this browser. */
export async function signIn(code) {
  const response = await request("POST", "/dashboard/session", { code });
  if (!response.ok) throw await refusal(response);
  localStorage.setItem(KEY, (await response.json()).page_key);
}

export async function signOut() {
  try {
    await request("DELETE", "/dashboard/session");
  } finally {
    forgetSession();
  }
}

/** A chat completion as it is written: `onText(piece)` for each piece. Resolves to {text, adapter, note, finish}: all of
 * it, the id of the version that answered (or "base"), what dittod remarks on that ("" if nothing), and why it ended.
 * Ends early with the signal. */
export async function ask(body, onText, signal) {
  const response = await checked(await request("POST", "/v1/chat/completions", { ...body, stream: true }, signal));
  const { headers } = response;
  const answer = {
    text: "",
    adapter: headers.get("x-dittod-adapter"),
    note: headers.get("x-dittod-note") ?? "",
    finish: null,
  };
  for await (const event of events(response.body)) {
    if (event.error) throw new ApiError(event.error.message, 200, event.error.code);
    const choice = event.choices?.[0];
    const piece = choice?.delta?.content ?? "";
    answer.finish = choice?.finish_reason ?? answer.finish;
    answer.text += piece;
    if (piece) onText(piece);
  }
  return answer;
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await read(reader);
      if (done) return;
      const lines = (waiting + value).split("\n");
      waiting = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data: ") && line.trim() !== "data: [DONE]") yield JSON.parse(line.slice(6));
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it may have ended by itself
  }
}

async function read(reader) {
  try {
    return await reader.read();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Gone();
  }
}

/** Tells of changed views for as long as it is open. heard(views): something has changed; lost() and found(): whether
 * dittod can be reached. Returns a function that ends it. */
export function listen({ heard, lost, found }) {
  let source = null;
  let again = null;
  let ended = false;
  const refused = async () => {
    // an answer that is no stream ends it for good: signed out, or too many listen
    try {
      await get("/dashboard/versions");
      found();
    } catch (error) {
      if (error.status === 401) return;
      lost();
    }
    if (!ended) again = setTimeout(open, 5000);
  };
  const open = () => {
    source = new EventSource("/dashboard/events");
    source.onopen = found;
    source.addEventListener("changed", (event) => heard(JSON.parse(event.data).views));
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) void refused();
      else lost();
    };
  };
  open();
  return () => {
    ended = true;
    clearTimeout(again);
    source.close();
  };
}
