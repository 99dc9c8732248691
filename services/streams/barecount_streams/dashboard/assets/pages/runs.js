// Runs, live: the list as the API has it, kept true by the stream.

import { get } from "../api.js";
import { el, fill } from "../dom.js";
import { duration, number, rate } from "../format.js";
import { live } from "../live.js";
import { badge, empty, loading, paced, problem, when } from "../parts.js";
import { ended, RunRows } from "../run_rows.js";

const STATUSES = ["requested", "queued", "running", "cancelling", "succeeded", "failed", "cancelled", "refused"];
const PAGE = 100;

export function runs(root, _parameters, query) {
  const rows = new RunRows();
  const chosen = { pipeline: query.get("pipeline") ?? "", status: query.get("status") ?? "", text: query.get("text") ?? "" };
  const changed = new Map();
  let cursor = null, loaded = false, failure = null;

  const pipeline = el("select", { name: "pipeline", "aria-label": "Pipeline", onchange: () => choose("pipeline", pipeline.value) });
  const status = el("select", { name: "status", "aria-label": "Status", onchange: () => choose("status", status.value) },
    el("option", { value: "" }, "Any status"), STATUSES.map((one) => el("option", { value: one, selected: one === chosen.status }, one)));
  const text = el("input", { type: "search", name: "text", placeholder: "Run, partition, error…  /", "aria-label": "Text", value: chosen.text,
    oninput: () => choose("text", text.value) });
  const count = el("span.count");
  const place = el("div", loading(6));
  fill(root,
    el("header.head", el("h1", "Runs", count), el("div.filters", text, pipeline, status)),
    place);

  function choose(name, value) {
    chosen[name] = value;
    const said = new URLSearchParams(Object.entries(chosen).filter(([, one]) => one));
    history.replaceState(null, "", `#/runs${said.size ? `?${said}` : ""}`);
    draw();
    // text filters what is here; the others may have matches that were not loaded yet
    if (name !== "text") read();
  }

  async function page(from) {
    const answer = await get("/runs", { pipeline: chosen.pipeline, status: chosen.status, limit: PAGE, cursor: from });
    rows.load(answer.items);
    cursor = answer.next_cursor;
  }

  const read = paced(async () => {
    try {
      await page(null);
      failure = null;
    } catch (error) {
      failure = error;
    }
    loaded = true;
    draw();
  });

  function draw() {
    const shown = rows.shown(chosen);
    fill(count, loaded ? (shown.length === rows.size ? number(rows.size) : `${number(shown.length)} of ${number(rows.size)}`) : "");
    const names = rows.pipelines();
    if (chosen.pipeline && !names.includes(chosen.pipeline)) names.push(chosen.pipeline);
    const options = [el("option", { value: "" }, "Any pipeline"), ...names.map((name) => el("option", { value: name, selected: name === chosen.pipeline }, name))];
    if (pipeline.options.length !== options.length) fill(pipeline, options);
    if (failure && !rows.size) return void fill(place, problem(failure));
    if (!loaded) return undefined;
    const held = document.activeElement?.closest?.("tr")?.dataset.run;
    if (shown.length) fill(place, failure ? problem(failure) : null, table(shown, changed), cursor ? more() : null);
    else if (rows.size) fill(place, empty("No run fits these filters", "Clear the text, or choose another pipeline or status."));
    else fill(place, empty("No run yet", "POST /pipelines/{name}/runs starts one; it appears here by itself."));
    if (held) place.querySelector(`tr[data-run="${CSS.escape(held)}"] a`)?.focus({ preventScroll: true });
    return undefined;
  }

  const more = () => el("button.button.more", { type: "button", onclick: async (event) => {
    event.currentTarget.disabled = true;
    await page(cursor).catch((error) => { failure = error; });
    draw();
  } }, "Older runs");

  const slash = (event) => {
    if (event.key !== "/" || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
    event.preventDefault();
    text.focus();
  };
  document.addEventListener("keydown", slash);
  const redraw = paced(draw, 80);
  const stops = [
    live.on("change", (change, event) => {
      const row = rows.apply(change, event);
      if (!row) return;
      changed.set(row.run_id, Date.now());
      redraw();
    }),
    live.on("look", read),
  ];
  const ticking = setInterval(() => {
    for (const cell of place.querySelectorAll("[data-since]")) cell.textContent = duration(Date.now() - Date.parse(cell.dataset.since));
  }, 500);
  read();
  return () => {
    stops.forEach((stop) => stop());
    clearInterval(ticking);
    document.removeEventListener("keydown", slash);
  };
}

const table = (shown, changed) =>
  el("div.scroll", el("table.list.runs",
    el("thead", el("tr", el("th", "Status"), el("th", "Run"), el("th", "Pipeline"), el("th", "Partition"), el("th", "Created"),
      el("th.num", "Duration"), el("th.num", "Read"), el("th.num", "Written"), el("th.num", "Error rate"))),
    el("tbody", shown.map((run) => row(run, changed.get(run.run_id))))));

function row(run, changedAt) {
  const totals = run.totals ?? {};
  const href = `#/runs/${encodeURIComponent(run.run_id)}`;
  const fresh = changedAt && Date.now() - changedAt < 1500;
  const failed = totals.error_rate && Number(totals.error_rate) > 0;
  return el("tr", { class: fresh ? "fresh" : "", "data-run": run.run_id, onclick: (event) => { if (!event.target.closest("a, button") && !String(getSelection())) location.hash = href; } },
    el("td.state", badge(run.status)),
    el("td.what", el("a.id", { href }, run.run_id),
      run.rerun_of ? el("small", "replay of ", el("a", { href: `#/runs/${encodeURIComponent(run.rerun_of)}` }, run.rerun_of)) : null,
      run.error ? el("small.why", { title: run.error.message ?? null }, [run.error.stage, run.error.error_type].filter(Boolean).join(" · ")) : null,
      run.stage && !ended(run.status) ? el("small", `stage ${run.stage}`) : null),
    el("td", { "data-label": "Pipeline" }, run.pipeline ?? "–", run.environment ? el("span.env", run.environment) : null),
    el("td.tabular", { "data-label": "Partition" }, run.data_partitions?.join(", ") || "–"),
    el("td", { "data-label": "Created" }, when(run.created_at)),
    el("td.num", { "data-label": "Duration" }, took(run)),
    el("td.num", { "data-label": "Read" }, number(totals.records_in)),
    el("td.num", { "data-label": "Written" }, number(totals.records_out)),
    el("td.num", { "data-label": "Error rate", class: failed ? "bad" : "" }, rate(totals.error_rate)));
}

function took(run) {
  if (run.totals) return duration(run.totals.duration_ms);
  if (!run.started_at) return "–";
  if (run.ended_at) return duration(Date.parse(run.ended_at) - Date.parse(run.started_at));
  return el("span", { "data-since": run.started_at }, duration(Date.now() - Date.parse(run.started_at)));
}
