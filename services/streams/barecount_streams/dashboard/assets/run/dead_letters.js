// Records that a run set aside, with their place in the source and why.

import { list } from "../api.js";
import { el, fill } from "../dom.js";
import { number } from "../format.js";
import { empty, paced, problem, section } from "../parts.js";
import { may } from "../session.js";

export function deadLetters(runId) {
  const place = el("div");
  const count = el("span.count");
  const root = section("Dead letters", { id: "dead-letters" }, place);
  root.querySelector("h2").append(count);
  let seen = -1;

  const read = paced(async () => {
    if (!may("dlq:read")) return void fill(place, empty("Your role does not see dead-lettered records"));
    try {
      const { items, more } = await list("/dlq", { run_id: runId, limit: 100 }, { pages: 2 });
      seen = items.length;
      count.textContent = more ? `${number(items.length)}+` : number(items.length);
      fill(place, items.length ? table(items) : empty("No record was set aside"));
      if (more) place.append(el("p.faint.pad", `Only the first ${items.length} are shown: GET /dlq?run_id=${runId} has all.`));
    } catch (error) {
      fill(place, problem(error));
    }
    return undefined;
  });
  const follow = (found) => (found.totals?.dead_lettered ?? 0) > seen && seen < 200;
  return { root, read, follow };
}

const table = (items) =>
  el("div.scroll.tall", el("table.dense",
    el("thead", el("tr", el("th", "Stage"), el("th", "Type"), el("th", "Reason"), el("th", "Source"), el("th", "Record"))),
    el("tbody", items.map((one) => el("tr",
      el("td", one.stage), el("td", el("code", one.error_type)), el("td", one.reason),
      el("td", { title: one.source.path }, el("code", one.source.path.split("/").at(-1), one.source.line ? `:${one.source.line}` : "")),
      el("td", el("code.payload", { title: one.payload }, one.payload)))))));
