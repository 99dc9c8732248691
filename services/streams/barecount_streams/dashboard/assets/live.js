// What changes, as it happens: follows /stream with the caller's token, resumes after a cut with the last id, and says how it stands.
// Only where the installation has no stream does it fall back to asking: then every page is told to look again now and then.

import { headers, unauthenticated } from "./api.js";
import { may } from "./session.js";
import { EventParser } from "./sse.js";

const POLL_MS = 3000;
// heartbeats come every 15 s: a stream that is silent for longer is dead, whatever TCP believes
const SILENCE_MS = 45_000;
const CATCHING_UP_MS = 3000;
// a browser has six connections to an HTTP/1.1 origin: tabs that nobody sees give theirs back, and resume when they are seen
const UNSEEN_MS = 60_000;

/**
 * States: connecting, catching-up, live, cut (comes back by itself), polling, off.
 * `on("change", (change, event) => …)`: a StateChanged and its CloudEvent, in log order.
 * `on("look", (why) => …)`: what is shown may be old: read again (gap, reconnect after a lost position, each poll).
 * `on("state", (state, detail) => …)`.
 */
class Live {
  #listeners = { change: new Set(), look: new Set(), state: new Set() };
  #stop = null;
  #last = null;
  #opened = null;
  #why = "";
  state = "off";
  detail = "";

  on(name, then) {
    this.#listeners[name].add(then);
    return () => this.#listeners[name].delete(then);
  }

  #tell(name, ...said) {
    for (const then of this.#listeners[name]) {
      // one page's fault must not silence the others
      try { then(...said); } catch (error) { console.error(error); }
    }
  }

  #become(state, detail = "") {
    if (state === this.state && detail === this.detail) return;
    Object.assign(this, { state, detail });
    this.#tell("state", state, detail);
  }

  /** Resolves when the stream is open (or is known not to be there): lists that are read from then on miss nothing. */
  start() {
    this.stop();
    const stopping = new AbortController();
    this.#stop = stopping;
    const opened = new Promise((resolve) => { this.#opened = resolve; });
    this.#follow(stopping.signal);
    return Promise.race([opened, pause(4000)]);
  }

  stop() {
    this.#stop?.abort();
    this.#stop = null;
    this.#last = null;
    this.#become("off");
  }

  async #follow(signal) {
    if (!may("stream:read")) return this.#poll(signal, "your role may not follow the stream");
    for (let failures = 0; !signal.aborted; ) {
      await seen(signal);
      if (this.state !== "polling") this.#become(failures || this.#last ? "cut" : "connecting");
      const verdict = await this.#once(signal).catch((error) => (signal.aborted ? "over" : `cut: ${error.message}`));
      if (signal.aborted || verdict === "over") return;
      if (verdict === "absent") {
        await this.#poll(signal, this.#why, 4);
        continue;
      }
      failures = verdict === "ended" ? 0 : failures + 1;
      if (verdict === "lost") { this.#last = null; this.#tell("look", "position lost"); }
      await pause(Math.min(300 * 2 ** failures, 10_000) * (0.5 + Math.random() / 2), signal);
    }
  }

  async #absent(answer) {
    const said = await answer.json().catch(() => ({}));
    this.#why = said.detail ?? `/stream answered ${answer.status}`;
    return "absent";
  }

  /** One connection, to its end. "ended": it was open; "absent": there is none; "lost": the position is not known any more; "over". */
  async #once(signal) {
    const connection = new AbortController();
    const leave = () => connection.abort();
    signal.addEventListener("abort", leave);
    let silence = setTimeout(leave, SILENCE_MS);
    let unseen = 0;
    const turned = () => { clearTimeout(unseen); if (document.hidden) unseen = setTimeout(leave, UNSEEN_MS); };
    document.addEventListener("visibilitychange", turned);
    try {
      const more = this.#last ? { "Last-Event-ID": this.#last } : {};
      const answer = await fetch("/stream", { headers: headers({ ...more, Accept: "text/event-stream" }), signal: connection.signal, cache: "no-store" });
      if (answer.status === 401) {
        unauthenticated();
        return "over";
      }
      if ([404, 405, 429, 501, 503].includes(answer.status)) return this.#absent(answer);
      if (answer.status === 400) return "lost";
      if (!answer.ok) throw new Error(`/stream answered ${answer.status}`);
      const resumed = this.#last !== null;
      const caughtUp = setTimeout(() => this.#become("live"), resumed ? CATCHING_UP_MS : 0);
      const polled = this.state === "polling";
      this.#become(resumed ? "catching-up" : "live");
      this.#opened?.();
      if (polled && !resumed) this.#tell("look", "stream is back");
      const parser = new EventParser();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      try {
        for (;;) {
          const { value, done } = await reader.read();
          if (done) return "ended";
          clearTimeout(silence);
          silence = setTimeout(leave, SILENCE_MS);
          for (const event of parser.feed(value)) this.#take(event);
        }
      } finally {
        clearTimeout(caughtUp);
      }
    } finally {
      clearTimeout(silence);
      clearTimeout(unseen);
      document.removeEventListener("visibilitychange", turned);
      signal.removeEventListener("abort", leave);
    }
  }

  #take({ id, event, data }) {
    if (data !== null && event === "gap") {
      this.#tell("look", "gap");
    } else if (data !== null && event !== "open" && event !== "end") {
      const told = JSON.parse(data);
      this.#tell("change", told.data, told);
    }
    // only what was handled is passed: a cut in between brings it again
    if (id) this.#last = id;
    // a heartbeat follows the last of what was missed
    if (data === null && this.state === "catching-up") this.#become("live");
  }

  /** Asks every few seconds; `rounds` limits how often, then the stream is tried again. */
  async #poll(signal, why, rounds = Infinity) {
    this.#become("polling", why);
    this.#opened?.();
    for (let round = 0; round < rounds && !signal.aborted; round += 1) {
      await pause(POLL_MS, signal);
      if (!signal.aborted && !document.hidden) this.#tell("look", "poll");
    }
  }
}

function seen(signal) {
  if (!document.hidden) return null;
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true, signal });
    signal.addEventListener("abort", resolve, { once: true });
  });
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

export const live = new Live();
