// Log lines by stage, level and error type; they grow while the run does.

import { get } from "../api.js";
import { el, fill } from "../dom.js";
import { clock, absolute, number } from "../format.js";
import { empty, paced, problem, section } from "../parts.js";
import { ended } from "../run_rows.js";

const LEVELS = ["debug", "info", "warning", "error"];
const QUIET_ROUNDS = 4;

export function logs(runId, signal) {
  const at = `/runs/${encodeURIComponent(runId)}/logs`;
  const chosen = { level: "info", stage: "", error_type: "" };
  const types = new Set(), stageNames = new Set();
  let cursor = null, lines = 0, quiet = 0, generation = 0, newest = -1;

  const choice = (name, label, ...options) => el("select", { "aria-label": label, onchange: (event) => choose(name, event.target.value) }, options);
  const level = choice("level", "Level", LEVELS.map((one) => el("option", { value: one, selected: one === "info" }, `${one} and above`)));
  const stage = choice("stage", "Stage", el("option", { value: "" }, "Any stage"));
  const type = choice("error_type", "Error type", el("option", { value: "" }, "Any error type"));
  const body = el("ol.logs", { tabindex: 0, "aria-label": "Log lines" });
  const note = el("div", empty("No line yet"));
  const count = el("span.count");
  const root = section("Logs", { id: "logs", aside: el("div.filters", stage, level, type) }, note, body);
  root.querySelector("h2").append(count);

  function choose(name, value) {
    chosen[name] = value;
    generation += 1;
    cursor = null;
    lines = quiet = 0;
    newest = -1;
    fill(body);
    read();
  }

  const read = paced(async () => {
    const asked = generation;
    try {
      for (let pages = 0; pages < 20; pages += 1) {
        const answer = await get(at, { ...chosen, cursor, limit: 200 }, signal);
        if (asked !== generation) return;
        // the last page of a growing list has no cursor: it is asked for again, and what is here already is left out
        const fresh = answer.items.filter((item) => item.position > newest);
        newest = Math.max(newest, ...fresh.map((item) => item.position));
        add(fresh);
        quiet = fresh.length ? 0 : quiet + 1;
        if (!answer.next_cursor) break;
        cursor = answer.next_cursor;
      }
      if (lines) fill(note);
      else fill(note, empty(chosen.stage || chosen.error_type || chosen.level !== "info" ? "No line fits" : "No line yet"));
    } catch (error) {
      if (error.name !== "AbortError") fill(note, problem(error));
    }
  }, 100);

  function add(items) {
    if (!items.length) return;
    const atEnd = body.scrollHeight - body.scrollTop - body.clientHeight < 40;
    lines += items.length;
    body.append(...items.map(line));
    for (const item of items) {
      offer(stage, stageNames, item.stage);
      if (item.error_type) offer(type, types, item.error_type);
    }
    count.textContent = number(lines);
    if (atEnd) body.scrollTop = body.scrollHeight;
  }

  // lines may come a little after the run's end
  const follow = (found) => !ended(found.status) || quiet < QUIET_ROUNDS;
  return { root, read, follow };
}

function offer(select, seen, value) {
  if (seen.has(value)) return;
  seen.add(value);
  select.append(el("option", { value }, value));
}

function line(item) {
  const fields = Object.entries(item.fields ?? {});
  return el("li", { class: item.level },
    el("time", { title: absolute(item.time) }, clock(item.time)),
    el("span.level", item.level),
    el("span.stage", item.stage, item.attempt > 1 ? ` #${item.attempt}` : ""),
    el("span.said", el("b", item.event.replaceAll("-", " ")), item.error_type ? el("i.type", item.error_type) : null,
      fields.map(([name, value]) => el("span.pair", el("span.key", `${name}=`), typeof value === "object" ? JSON.stringify(value) : String(value)))));
}
