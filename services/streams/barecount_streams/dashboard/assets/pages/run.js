// One run: what it is, how it went, what it wrote, and what proves it. Reads again when the stream says that it changed.

import { get, list, write } from "../api.js";
import { el, fill, refill } from "../dom.js";
import { duration, number, rate } from "../format.js";
import { live } from "../live.js";
import { ask, badge, copyable, empty, fact, field, figure, loading, paced, problem, section, toast, when } from "../parts.js";
import { deadLetters } from "../run/dead_letters.js";
import { evidence } from "../run/evidence.js";
import { lineage } from "../run/lineage.js";
import { logs } from "../run/logs.js";
import { published, reconciliations } from "../run/outcome.js";
import { stages } from "../run/stages.js";
import { ended, rank, statusOf } from "../run_rows.js";
import { may } from "../session.js";
import { undecided } from "../undecided.js";

export function run(root, [runId]) {
  const leaving = new AbortController();
  const at = `/runs/${encodeURIComponent(runId)}`;
  let shown = null, heard = -1;

  const head = el("div", loading(2));
  const timeline = el("div"), sums = el("div"), outcome = el("div");
  const parts = [logs(runId, leaving.signal), deadLetters(runId), lineage(runId), evidence(runId)];
  fill(root, head, timeline, sums, outcome, parts.map((part) => part.root));
  root.classList.add("wide");

  const read = paced(async () => {
    try {
      const [found, metrics] = await Promise.all([get(at, {}, leaving.signal), get(`${at}/metrics`, {}, leaving.signal)]);
      const partitions = await list(`${at}/partitions`, {}, { signal: leaving.signal });
      shown = found;
      refill(head, header(found, metrics));
      refill(timeline, stages(found));
      refill(sums, reconciliations(metrics));
      refill(outcome, published(partitions.items, ended(found.status)));
      // the stream was faster than the read model: ask again until it has caught up
      if (rank(found.status) < heard) setTimeout(read, 300);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (shown) toast(error.message, "bad");
      else notFound(error);
    }
  });

  function notFound(error) {
    fill(root, el("a.back", { href: "#/runs" }, "← Runs"), problem(error));
    leaving.abort();
  }

  function readParts() {
    for (const part of parts) part.read(shown);
  }

  const stops = [
    live.on("change", (change, { type }) => {
      if ((change.run_id ?? change.id) !== runId) return;
      const status = change.kind === "run" ? statusOf(change, type) : null;
      heard = Math.max(heard, status ? rank(status) : -1);
      read().then(readParts);
    }),
    live.on("look", () => { if (!shown || !ended(shown.status)) read().then(readParts); }),
  ];
  // no stream carries log lines, and the ledger follows a moment later: look while there is more to come
  const following = setInterval(() => {
    if (document.hidden || !shown) return;
    for (const part of parts) if (part.follow?.(shown)) part.read(shown);
    for (const bar of root.querySelectorAll("[data-since]")) bar.textContent = duration(Date.now() - Date.parse(bar.dataset.since));
  }, 1500);
  read().then(() => { if (!leaving.signal.aborted) readParts(); });
  return () => {
    leaving.abort();
    clearInterval(following);
    stops.forEach((stop) => stop());
  };
}

function header(found, metrics) {
  const plan = found.plan;
  const since = found.started_at && !found.ended_at ? found.started_at : null;
  return [
    el("header.head",
      el("div", el("a.back", { href: "#/runs" }, "← Runs"), el("h1", copyable(found.run_id, { label: "run id" }), badge(found.status))),
      el("div.buttons", buttons(found))),
    found.error ? el("div.problem", { role: "note" },
      el("strong", [found.error.stage ? `stage ${found.error.stage}: ` : "", found.error.error_type.replaceAll("-", " ")]), el("p", found.error.message ?? "")) : null,
    found.cancel_reason ? el("p.note", `Cancelled: ${found.cancel_reason}`) : null,
    found.waiting_for && !ended(found.status) ? el("p.note", `Waits: ${found.waiting_for.detail}`) : null,
    el("div.figures",
      figure("Duration", since ? el("span", { "data-since": since }, duration(Date.now() - Date.parse(since))) : duration(metrics.duration_ms), since ? "so far" : "start to end"),
      figure("Read", number(metrics.records_in), "records"),
      figure("Written", number(metrics.records_out), "rows"),
      figure("Dead letters", number(metrics.dead_lettered), "records", metrics.dead_lettered ? "bad" : ""),
      figure("Error rate", rate(metrics.error_rate), "dead / read", Number(metrics.error_rate) ? "bad" : ""),
      figure("Reconciled", metrics.reconciled === null ? "–" : metrics.reconciled ? "Yes" : "No", "to the control totals",
        metrics.reconciled === null ? "" : metrics.reconciled ? "good" : "bad")),
    el("dl.facts",
      fact("Pipeline", found.pipeline ?? "–", found.environment ? el("span.env", found.environment) : null),
      fact("Partition", found.data_partitions.join(", ") || "–"),
      fact("Manifest", plan ? `v${plan.manifest_version}` : "–"),
      fact("Contract", plan ? `${plan.contract.name} ${plan.contract.version}` : "–"),
      found.rerun_of ? fact("Replay of", el("a", { href: `#/runs/${encodeURIComponent(found.rerun_of)}` }, found.rerun_of)) : null,
      fact("Created", when(found.created_at)),
      found.ended_at ? fact("Ended", when(found.ended_at)) : null,
      fact("Asked by", copyable(found.requested_by, { label: "principal" })),
      fact("Plan", copyable(found.plan_digest, { size: 15, label: "plan digest" }))),
  ];
}

function buttons(found) {
  const made = [];
  if (!ended(found.status) && may("runs:cancel")) made.push(el("button.button.danger", { type: "button", onclick: () => askCancel(found) }, "Cancel"));
  if (ended(found.status) && found.plan && may("runs:replay")) made.push(el("button.button.primary", { type: "button", onclick: () => askReplay(found) }, "Replay"));
  return made;
}

function askCancel(found) {
  ask({
    title: "Cancel this run",
    lead: "What it has not published by then stays unpublished.",
    fields: [field("Reason", el("input", { name: "reason", required: true, maxlength: 500, autofocus: true }))],
    action: "Cancel the run", danger: true,
    send: async ({ reason }) => {
      const answer = await write("POST", `/runs/${encodeURIComponent(found.run_id)}/cancel`, { reason });
      if (!undecided(answer)) toast("The run is being ended");
    },
  });
}

function askReplay(found) {
  const partitions = el("select", { name: "partition" }, found.data_partitions.map((one) => el("option", { value: one }, one)));
  const manifest = el("select", { name: "manifest_version" },
    el("option", { value: "as_run" }, `as it ran (v${found.plan.manifest_version})`), el("option", { value: "latest" }, "newest"));
  ask({
    title: "Replay",
    lead: "The ledger must prove what this run did; then the governance policy decides, or asks a person.",
    fields: [
      field("Data partition", partitions),
      field("Output contract", el("input", { name: "contract_version", value: found.plan.contract.version, required: true }), "the version that it ran under"),
      field("Manifest", manifest)],
    action: "Ask for the replay",
    send: async (said) => {
      const answer = await write("POST", "/pipelines/replay", { run_id: found.run_id, ...said }, 30);
      if (undecided(answer)) return;
      const next = answer.event.data?.new_run_id;
      if (next) {
        toast(`Approved: ${next}`);
        location.hash = `#/runs/${encodeURIComponent(next)}`;
      } else {
        toast(answer.event.data?.reason ? `A person must decide: ${answer.event.data.reason}` : "The request is being validated", "wait");
        location.hash = "#/approvals";
      }
    },
  });
}
