// Webhook endpoints and how they do.

import { get, list } from "../api.js";
import { el, fill, refill } from "../dom.js";
import { number } from "../format.js";
import { live } from "../live.js";
import { badge, empty, loading, paced, problem, when } from "../parts.js";

const FOLLOW_MS = 5000;
// an open breaker is a word for engineers; people ask whether events arrive
const HEALTH = { live: "delivering", failing: "failing", open: "paused: it fails", "half-open": "trying again", disabled: "disabled", deleted: "deleted" };

export function healthBadge({ state, failing_since, disabled_detail }) {
  const shown = state === "live" && failing_since ? "failing" : state;
  return badge(shown, disabled_detail, HEALTH[shown] ?? shown);
}

export function webhooks(root) {
  const count = el("span.count"), place = el("div", loading(3));
  fill(root, el("header.head", el("h1", "Webhooks", count)), place);
  const read = paced(async () => {
    try {
      const { items } = await list("/webhooks", { limit: 100 });
      // the health of an endpoint is the relay's to tell; it may learn of a new one a moment later
      const health = await Promise.all(items.map((one) => get(`/webhooks/${one.endpoint_id}/health`).catch(() => null)));
      count.textContent = number(items.length);
      refill(place, items.length ? table(items, health) : empty("No endpoint gets events", "POST /webhooks, or `barecount webhooks create URL`, makes one."));
    } catch (error) {
      fill(place, problem(error));
    }
  });
  const stops = [live.on("change", (change) => { if (change.kind === "webhook") read(); }), live.on("look", read)];
  const following = setInterval(() => { if (!document.hidden) read(); }, FOLLOW_MS);
  read();
  return () => {
    stops.forEach((stop) => stop());
    clearInterval(following);
  };
}

const table = (items, health) =>
  el("div.scroll", el("table.list.webhooks",
    el("thead", el("tr", el("th", "State"), el("th", "Endpoint"), el("th.num", "Delivered"), el("th.num", "Pending"), el("th.num", "Given up"),
      el("th", "Oldest waiting"), el("th", "Last success"))),
    el("tbody", items.map((one, at) => row(one, health[at])))));

function row(one, health) {
  const known = health ?? { state: one.enabled ? "pending" : "disabled" };
  return el("tr", { "data-endpoint": one.endpoint_id },
    el("td.state", healthBadge(known)),
    el("td.what", el("a.id", { href: `#/webhooks/${encodeURIComponent(one.endpoint_id)}` }, one.url),
      one.description ? el("small", one.description) : null,
      el("small", one.event_types.join(", "), one.pipelines.length ? ` · ${one.pipelines.join(", ")}` : "")),
    el("td.num", { "data-label": "Delivered" }, number(known.succeeded)),
    el("td.num", { "data-label": "Pending" }, number(known.pending)),
    el("td.num", { "data-label": "Given up", class: known.failed ? "bad" : "" }, number(known.failed)),
    el("td", { "data-label": "Oldest waiting" }, when(known.oldest_undelivered_at)),
    el("td", { "data-label": "Last success" }, when(known.last_success_at)));
}
