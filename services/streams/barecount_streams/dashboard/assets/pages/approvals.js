// What waits for a person, and what was decided.

import { list, write } from "../api.js";
import { el, fill, refill } from "../dom.js";
import { short } from "../format.js";
import { live } from "../live.js";
import { ask, badge, copyable, differences, empty, fact, field, loading, paced, problem, section, toast, when } from "../parts.js";
import { may, principal } from "../session.js";
import { undecided } from "../undecided.js";

export function approvals(root) {
  const waiting = el("div", loading(3)), decided = el("div");
  fill(root, el("header.head", el("h1", "Approvals")), waiting, decided);
  const read = paced(async () => {
    try {
      const [{ items }, me] = await Promise.all([list("/governance/approvals", { limit: 500 }, { pages: 4 }), principal()]);
      const open = items.filter((one) => one.state === "waiting");
      const others = items.filter((one) => one.state !== "waiting").reverse();
      refill(waiting, open.length ? [el("p.lead", `${open.length === 1 ? "One request waits" : `${open.length} requests wait`} for a person other than the one who asked.`),
        open.map((one) => card(one, me, read))] : empty("Nothing waits for a decision", "Requests that the governance policy gives to a person appear here by themselves."));
      refill(decided, history(others, me));
    } catch (error) {
      fill(waiting, problem(error));
    }
  });
  const stops = [live.on("change", (change) => { if (change.kind === "replay") read().then(() => setTimeout(read, 500)); }), live.on("look", read)];
  read();
  return () => stops.forEach((stop) => stop());
}

function card(request, me, read) {
  const own = me !== null && request.requested_by === me;
  const plan = request.plan;
  return el("article.request", { "data-request": request.request_id, "aria-label": `Request to replay ${request.run_id}` },
    el("header",
      el("div", el("h2", "Replay ", el("a", { href: `#/runs/${encodeURIComponent(request.run_id)}` }, request.run_id)),
        el("p", el("b", request.reason ?? "A person must decide"), request.rule ? el("span.faint", ` · ${request.rule}`) : null)),
      el("div.age", when(request.requested_at))),
    el("dl.facts",
      fact("Partition", request.data_partition),
      plan ? fact("Pipeline", plan.pipeline, el("span.env", plan.environment)) : null,
      plan ? fact("Manifest", `v${plan.manifest_version}`, el("span.faint", request.manifest_version === "as_run" ? " as it ran" : ` ${request.manifest_version}`)) : null,
      plan ? fact("Contract", `${plan.contract.name} ${plan.contract.version}`) : null,
      fact("Asked by", copyable(request.requested_by, { label: "principal" }), own ? el("b.own", "you") : null),
      fact("Plan", copyable(request.plan_digest, { size: 15, label: "plan digest" }))),
    own ? el("p.note", "This is your own request: another person must decide it.") : null,
    may("decisions:write")
      ? el("footer",
        el("button.button", { type: "button", class: own ? "" : "primary", onclick: () => decide(request, "approve", read) }, "Approve…"),
        el("button.button", { type: "button", onclick: () => decide(request, "reject", read) }, "Reject…"),
        el("small.faint", `What is approved is exactly this plan: ${short(request.plan_digest, 15)}`))
      : el("p.faint", "Your role may see requests, not decide them."));
}

function decide(request, decision, read) {
  const approve = decision === "approve";
  ask({
    title: approve ? "Approve the replay" : "Reject the replay",
    lead: `${request.run_id}, ${request.data_partition}. The decision and its reason become part of the evidence.`,
    fields: [field("Reason", el("textarea", { name: "reason", required: true, maxlength: 2000, rows: 3, autofocus: true }))],
    action: approve ? "Approve" : "Reject", danger: !approve,
    send: async ({ reason }) => {
      const body = { request_id: request.request_id, decision, reason, plan_digest: request.plan_digest };
      try {
        const answer = await write("POST", "/governance/decisions", body);
        if (undecided(answer)) return;
        const started = answer.event.data?.new_run_id;
        toast(approve ? `Approved${started ? `: ${started} starts` : ""}` : "Rejected");
      } finally {
        read();
      }
    },
  });
}

function history(requests, me) {
  return section("Decided", { count: requests.length }, requests.length
    ? el("div.scroll", el("table.list.decided",
      el("thead", el("tr", el("th", "State"), el("th", "Run"), el("th", "Partition"), el("th", "Why"), el("th", "Asked by"), el("th", "Decided by"), el("th", "When"))),
      el("tbody", requests.slice(0, 200).map((one) => row(one, me)))))
    : empty("Nothing was decided yet"));
}

function row(one, me) {
  const link = (run) => el("a.id", { href: `#/runs/${encodeURIComponent(run)}` }, run);
  const person = (name) => (name ? el("code", name, name === me ? el("b.own", "you") : null) : "–");
  return el("tr", { "data-request": one.request_id },
    el("td.state", badge(one.state)),
    el("td.what", one.new_run_id ? [link(one.new_run_id), el("small", "replay of ", link(one.run_id))] : link(one.run_id)),
    el("td.tabular", { "data-label": "Partition" }, one.data_partition),
    el("td.because", { "data-label": "Why" }, one.code ? [el("code", one.code), " "] : null, one.detail ?? one.reason ?? "–",
      one.rule ? el("small", one.rule) : null,
      one.extra?.difference ? el("details", el("summary", "What has changed"), differences(one.extra.difference)) : null),
    el("td", { "data-label": "Asked by" }, person(one.requested_by)),
    el("td", { "data-label": "Decided by" }, one.decided_by === "service:command" ? el("span", { title: one.rule }, "policy") : person(one.decided_by)),
    el("td", { "data-label": "When" }, when(one.decided_at ?? one.requested_at)));
}
