// Pipelines and what each environment runs of them.

import { list } from "../api.js";
import { el, fill, refill } from "../dom.js";
import { live } from "../live.js";
import { badge, empty, loading, paced, problem, when } from "../parts.js";

const ENVIRONMENTS = ["dev", "staging", "prod"];

export function pipelines(root) {
  const count = el("span.count"), place = el("div", loading(4));
  fill(root, el("header.head", el("h1", "Pipelines", count)), place);
  const read = paced(async () => {
    try {
      const { items } = await list("/pipelines", { limit: 500 }, { pages: 4 });
      count.textContent = String(items.length);
      refill(place, items.length ? table(items) : empty("No pipeline yet", "POST /pipelines creates one from its manifest."));
    } catch (error) {
      fill(place, problem(error));
    }
  });
  const stops = [live.on("change", (change) => { if (change.kind === "pipeline") read().then(() => setTimeout(read, 500)); }), live.on("look", read)];
  read();
  return () => stops.forEach((stop) => stop());
}

const table = (items) =>
  el("div.scroll", el("table.list.pipelines",
    el("thead", el("tr", el("th", "Pipeline"), el("th", "Owner"), el("th.num", "Newest"), ENVIRONMENTS.map((name) => el("th.num", name)), el("th", "Pool"), el("th", "Changed"))),
    el("tbody", items.map((one) => el("tr",
      el("td.what", el("a.id", { href: `#/runs?pipeline=${encodeURIComponent(one.name)}` }, one.name), el("small", one.description), one.deleted ? badge("disabled", "retired") : null),
      el("td", { "data-label": "Owner" }, one.owner),
      el("td.num", { "data-label": "Newest" }, `v${one.version}`),
      ENVIRONMENTS.map((name) => el("td.num", { "data-label": name, class: one.environments[name] && one.environments[name] < one.version ? "behind" : "" },
        one.environments[name] ? `v${one.environments[name]}` : "–")),
      el("td", { "data-label": "Pool" }, one.pool),
      el("td", { "data-label": "Changed" }, when(one.updated_at)))))));
