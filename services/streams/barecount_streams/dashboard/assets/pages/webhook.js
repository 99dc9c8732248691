// One webhook endpoint: its health, and the newest deliveries, each of which can be sent again.

import { get, write } from "../api.js";
import { el, fill, refill } from "../dom.js";
import { number } from "../format.js";
import { badge, copyable, empty, fact, figure, loading, paced, problem, section, toast, when } from "../parts.js";
import { may } from "../session.js";
import { undecided } from "../undecided.js";
import { healthBadge } from "./webhooks.js";

const FOLLOW_MS = 3000;

export function webhook(root, [endpointId]) {
  const at = `/webhooks/${encodeURIComponent(endpointId)}`;
  const head = el("div", loading(2)), deliveries = el("div");
  root.classList.add("wide");
  fill(root, head, deliveries);
  const read = paced(async () => {
    try {
      const [endpoint, health, page] = await Promise.all([get(at), get(`${at}/health`), get(`${at}/deliveries`, { limit: 50 })]);
      refill(head, header(endpoint, health));
      refill(deliveries, list(page, at, read));
    } catch (error) {
      fill(head, el("a.back", { href: "#/webhooks" }, "← Webhooks"), problem(error));
    }
  });
  const following = setInterval(() => { if (!document.hidden) read(); }, FOLLOW_MS);
  read();
  return () => clearInterval(following);
}

function header(endpoint, health) {
  return [
    el("header.head", el("div", el("a.back", { href: "#/webhooks" }, "← Webhooks"),
      el("h1", copyable(endpoint.url, { label: "address" }), healthBadge(health)))),
    health.disabled_detail ? el("p.note", health.disabled_detail) : null,
    el("div.figures",
      figure("Delivered", number(health.succeeded), "events"),
      figure("Pending", number(health.pending), "events"),
      figure("Given up", number(health.failed), "events", health.failed ? "bad" : ""),
      figure("In flight", number(health.in_flight), `of ${health.concurrency} at once`),
      figure("Oldest waiting", when(health.oldest_undelivered_at)),
      figure("Last success", when(health.last_success_at))),
    el("dl.facts",
      fact("Events", endpoint.event_types.join(", ")),
      fact("Pipelines", endpoint.pipelines.join(", ") || "all"),
      fact("Secret", `version ${endpoint.key_version}`, endpoint.previous_until ? el("span.faint", " rotating") : null),
      fact("Created", when(endpoint.created_at)),
      fact("Endpoint", copyable(endpoint.endpoint_id, { label: "endpoint id" }))),
  ];
}

const list = (page, at, read) => section("Deliveries", { aside: page.next_cursor ? el("span.faint", "the newest 50") : null }, page.items.length
  ? el("div.scroll", el("table.list",
    el("thead", el("tr", el("th", "State"), el("th", "Event"), el("th.num", "Attempts"), el("th", "Answer"), el("th", "Happened"), el("th", "Next"), el("th"))),
    el("tbody", page.items.map((one) => row(one, at, read)))))
  : empty("Nothing was delivered yet", "Events that fit appear here when they happen."));

function row(one, at, read) {
  const again = el("button.button", { type: "button", onclick: async () => {
    again.disabled = true;
    try {
      const answer = await write("POST", `${at}/redeliver`, { event_id: one.event_id });
      if (!undecided(answer)) toast(`${one.event_type} is delivered again`);
      read();
    } catch (error) {
      toast(error.message, "bad");
    } finally {
      again.disabled = false;
    }
  } }, "Send again");
  return el("tr", { "data-delivery": one.delivery_id },
    el("td.state", badge(one.state)),
    el("td.what", el("b", one.event_type), el("small", copyable(one.event_id, { size: 18, label: "event id" }))),
    el("td.num", { "data-label": "Attempts" }, number(one.attempts)),
    el("td", { "data-label": "Answer" }, one.status ?? "–", one.error_type ? el("small.why", { title: one.detail }, one.error_type) : null),
    el("td", { "data-label": "Happened" }, when(one.created_at)),
    el("td", { "data-label": "Next" }, when(one.due_at)),
    el("td", may("webhooks:write") && one.state !== "pending" ? again : null));
}
