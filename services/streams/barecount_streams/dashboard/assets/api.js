// The public API: bearer token, problem documents, idempotency keys, and the consistency token that makes a writer read their writes.

import { token } from "./session.js";

/** A problem document (RFC 9457) as an error. */
export class ProblemError extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `the API answered ${status}`);
    Object.assign(this, { status, code: document.code || "", title: document.title || "", remedy: document.remedy || "", extra: document.extra || {} });
  }
}

const AGAIN = new Set(["evidence-unavailable", "service-unavailable", "not-yet-projected"]);
const PATIENCE_MS = 10_000;
let after = null;
let onUnauthenticated = () => {};

export const whenUnauthenticated = (then) => { onUnauthenticated = then; };
export const unauthenticated = () => onUnauthenticated();

export function headers(more = {}) {
  return { Authorization: `Bearer ${token()}`, Accept: "application/json", ...more };
}

/** The answer of a GET as an object. query: null and "" are left out. Raises: ProblemError. */
export const get = (path, query = {}, signal) => call("GET", path + asQuery(query), { signal });

/** Up to `pages` pages of a list. Raises: ProblemError. */
export async function list(path, query = {}, { pages = 10, signal } = {}) {
  const items = [];
  let cursor = null;
  for (let page = 0; page < pages; page += 1) {
    const answer = await get(path, { ...query, cursor }, signal);
    items.push(...answer.items);
    cursor = answer.next_cursor;
    if (!cursor) break;
  }
  return { items, more: cursor };
}

/**
 * Sends a command and waits for its admission; an answer without an event is accepted and not decided yet (undecided.js tells it).
 * Repeats under one key are safe. Raises: ProblemError when it is refused.
 */
export async function write(method, path, body, wait = 15) {
  const more = { "Idempotency-Key": freshKey(), Prefer: `wait=${wait}`, "Content-Type": "application/json" };
  return call(method, path, { more, body: body === undefined ? undefined : JSON.stringify(body) });
}

async function call(method, path, { more = {}, body, signal } = {}) {
  const deadline = Date.now() + PATIENCE_MS;
  for (let pause = 150; ; pause = Math.min(pause * 2, 1500)) {
    const problem = await attempt(method, path, more, body, signal);
    if (!(problem instanceof ProblemError)) return problem;
    if (problem.status === 401) unauthenticated();
    // 503 with one of these codes says itself that asking again is safe
    if (!AGAIN.has(problem.code) || Date.now() > deadline) throw problem;
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (signal?.aborted) throw new DOMException("the page was left", "AbortError");
  }
}

async function attempt(method, path, more, body, signal) {
  let answer;
  try {
    const sent = method === "GET" && after ? { ...more, "X-Consistency-Token": after } : more;
    answer = await fetch(path, { method, headers: headers(sent), body, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const remedy = "See whether the stack runs (`barecount status`); this page goes on by itself.";
    return new ProblemError(0, { code: "unreachable", title: "No answer", detail: `${location.host} does not answer`, remedy });
  }
  after = answer.headers.get("X-Consistency-Token") || after;
  const document = await answer.json().catch(() => ({ detail: `the answer ${answer.status} is not JSON` }));
  if (answer.ok) {
    after = document?.consistency_token || after;
    return document;
  }
  // a token that another log generation issued is worth nothing any more
  if (String(document.code).startsWith("token-")) after = null;
  return new ProblemError(answer.status, document);
}

function asQuery(query) {
  const said = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return said.length ? `?${new URLSearchParams(said)}` : "";
}

function freshKey() {
  // randomUUID exists in secure contexts only; the dashboard may also be reached by plain HTTP
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
