// Stages as bars over the run's time: each attempt is one bar, the lighter part before it is the wait for a worker.

import { el } from "../dom.js";
import { absolute, bytes, duration, number } from "../format.js";
import { badge, mood, section } from "../parts.js";

export function stages(found) {
  const rows = found.stages ?? [];
  const begin = Date.parse(found.queued_at ?? found.created_at);
  const ends = rows.flatMap((stage) => stage.attempts.map((one) => Date.parse(one.ended_at ?? "") || 0));
  const running = !found.ended_at;
  const end = Math.max(begin + 200, running ? Date.now() : Date.parse(found.ended_at), ...ends);
  const scale = (time) => (100 * (Date.parse(time) - begin)) / (end - begin);
  const many = new Set(rows.map((stage) => stage.data_partition)).size > 1;
  return section("Stages", { aside: el("span.faint", duration(end - begin), running ? " so far" : " from the queue to the end") },
    rows.length ? el("ol.timeline", rows.map((stage) => row(stage, scale, many))) : el("p.faint.pad", "No stage yet: the run waits to be planned."));
}

function row(stage, scale, many) {
  const last = stage.attempts.at(-1);
  const tried = stage.attempts.filter((one) => one.purpose === "execute").length;
  const failedChecks = (last?.checks ?? []).filter((check) => !check.holds);
  return el("li",
    el("div.name", el("strong", stage.stage), el("small", [stage.kind, many ? stage.data_partition : null, tried > 1 ? `${tried} attempts` : null].filter(Boolean).join(" · "))),
    el("div.track", { role: "img", "aria-label": said(stage) }, stage.attempts.map((attempt) => bars(attempt, scale))),
    el("div.counts", last?.metrics ? [el("span", number(last.metrics.records_in)), el("span.faint", " → "), el("span", number(last.metrics.records_out))] : el("span.faint", "–")),
    el("div.took", took(last)),
    el("div.state", badge(stage.status)),
    last?.error || failedChecks.length || last?.inputs?.length || last?.checks?.length ? el("details.more", { open: false },
      el("summary", summary(last, failedChecks)),
      last.error ? el("p.why", last.error.error_type, ": ", last.error.message ?? "") : null,
      last.inputs.length ? el("ul", last.inputs.map((input) => el("li", el("code", input.path), el("span.faint", ` ${bytes(input.bytes)} · ${input.digest}`)))) : null,
      last.checks.length ? el("ul.checks", last.checks.map((check) => el("li", { class: check.holds ? "good" : "bad" },
        check.holds ? "✓ " : "✗ ", check.name, check.holds ? null : ` – ${check.failed_records} records ${check.detail}`))) : null) : null);
}

function summary(last, failedChecks) {
  const parts = [];
  if (last.error) parts.push(last.error.error_type);
  if (last.checks.length) parts.push(failedChecks.length ? `${failedChecks.length} of ${last.checks.length} checks fail` : last.checks.length === 1 ? "1 check holds" : `${last.checks.length} checks hold`);
  if (last.inputs.length) parts.push(last.inputs.length === 1 ? "1 input" : `${last.inputs.length} inputs`);
  return `${parts.join(" · ")} · ${last.worker_id ?? "no worker"}`;
}

function bars(attempt, scale) {
  const from = scale(attempt.dispatched_at ?? attempt.started_at);
  const worked = attempt.started_at ? scale(attempt.started_at) : null;
  const to = attempt.ended_at ? scale(attempt.ended_at) : 100;
  const label = `attempt ${attempt.attempt} (${attempt.purpose}) on ${attempt.worker_id}: ${attempt.status}` + (attempt.dispatched_at ? `, dispatched ${absolute(attempt.dispatched_at)}` : "");
  return [
    worked === null || worked > from ? bar("pending", from, worked ?? to, label) : null,
    worked === null ? null : bar(mood(attempt.status), worked, to, label),
  ];
}

const bar = (kind, from, to, title) =>
  el("span.bar", { class: kind, title, style: { left: `${Math.max(0, from).toFixed(2)}%`, width: `max(3px, ${Math.max(0, Math.min(100, to) - from).toFixed(2)}%)` } });

function took(attempt) {
  if (!attempt?.started_at) return el("span.faint", "–");
  if (!attempt.ended_at) return el("span", { "data-since": attempt.started_at }, duration(Date.now() - Date.parse(attempt.started_at)));
  return duration(Date.parse(attempt.ended_at) - Date.parse(attempt.started_at));
}

const said = (stage) => `${stage.stage}: ${stage.status}, ${stage.attempts.length} attempts`;
