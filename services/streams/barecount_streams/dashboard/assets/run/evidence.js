// The chain of evidence of a run: the ledger's records from the HTTP call on, each a leaf of the tree.

import { get } from "../api.js";
import { el, fill } from "../dom.js";
import { clock, absolute, number, short, words } from "../format.js";
import { badge, copyable, empty, paced, problem, section } from "../parts.js";
import { ended } from "../run_rows.js";
import { may } from "../session.js";

const PATIENCE_ROUNDS = 20;

export function evidence(runId) {
  const place = el("div");
  const count = el("span.count");
  const root = section("Chain of evidence", { id: "evidence" }, place);
  root.querySelector("h2").append(count);
  let settled = false, rounds = 0, held = 0;

  const read = paced(async () => {
    if (!may("evidence:read")) return void fill(place, empty("Your role does not see the ledger"));
    try {
      const chain = await get("/evidence/chain", { run_id: runId });
      rounds += 1;
      settled = chain.pending === 0 && chain.items.some((leaf) => /^Run(Succeeded|Failed|Cancelled|Refused)$/.test(leaf.type) && leaf.subject?.id === runId);
      if (chain.items.length === held && !settled) return undefined;
      held = chain.items.length;
      count.textContent = number(held);
      fill(place, head(chain, runId), records(chain.items));
    } catch (error) {
      fill(place, error.status === 404 ? empty("No record yet", "The ledger covers a run a moment after it began.") : problem(error));
    }
    return undefined;
  }, 400);
  // the ledger is behind by less than a second; a ledger that stands still is not asked for ever
  const follow = (found) => !settled && rounds < PATIENCE_ROUNDS && ended(found.status);
  return { root, read, follow };
}

function head({ items, pending, checkpoint, origin }, runId) {
  return el("div.proof",
    el("p", el("b", `${number(items.length)} records`), " are leaves of the tree of ", el("b", `${number(checkpoint.size)} leaves`),
      ", signed by ", el("code", origin), pending ? el("span.why", `, ${pending} more not covered yet`) : null, "."),
    el("p", "Root ", copyable(checkpoint.root, { size: 24, label: "root hash" })),
    el("p", "This page shows what the API says. To verify it independently, on your machine: ",
      copyable(`barecount evidence verify --run ${runId}`, { label: "command" })));
}

function records(items) {
  const depth = new Map();
  const parents = new Map(items.map((leaf) => [leaf.index, leaf.parent]));
  const deep = (index, guard = 0) => {
    const parent = parents.get(index);
    if (parent === null || parent === undefined || guard > 30) return 0;
    if (!depth.has(index)) depth.set(index, 1 + deep(parent, guard + 1));
    return depth.get(index);
  };
  const rows = causal(items).map((leaf) => el("tr",
    el("td.num", { title: `leaf hash ${leaf.leaf_hash}` }, leaf.index),
    el("td", el("time.clock", { title: absolute(leaf.at) }, clock(leaf.at))),
    el("td.kind", { style: { "--depth": String(Math.min(deep(leaf.index), 6)) } }, el("b", words(leaf.type ?? leaf.kind)), el("small", about(leaf))),
    el("td", badge(leaf.outcome ?? "ok")),
    el("td", leaf.principal ? el("code", leaf.principal) : "–"),
    el("td.because", leaf.parent === null ? el("span", leaf.why) : [el("span", leaf.why), el("span.faint", ` ← ${leaf.parent}`)],
      leaf.relies_on?.length ? el("span.faint", `, relies on ${leaf.relies_on.join(", ")}`) : null),
    el("td", copyable(leaf.leaf_hash, { size: 10, label: "leaf hash" }))));
  return el("div.scroll.tall", el("table.dense.chain-of-evidence",
    el("thead", el("tr", el("th.num", "Leaf"), el("th", "At"), el("th", "Record"), el("th", "Outcome"), el("th", "By"), el("th", "Because"), el("th", "Leaf hash"))),
    el("tbody", rows)));
}

// causes before what they caused: the ledger's order is that of covering, not of causing
function causal(items) {
  const children = new Map();
  const here = new Set(items.map((leaf) => leaf.index));
  for (const leaf of items) {
    const under = here.has(leaf.parent) ? leaf.parent : null;
    children.set(under, [...(children.get(under) ?? []), leaf]);
  }
  const ordered = [], seen = new Set();
  const walk = (leaf) => {
    if (seen.has(leaf.index)) return;
    seen.add(leaf.index);
    ordered.push(leaf);
    (children.get(leaf.index) ?? []).forEach(walk);
  };
  (children.get(null) ?? []).sort((a, b) => Date.parse(a.at) - Date.parse(b.at)).forEach(walk);
  return [...ordered, ...items.filter((leaf) => !seen.has(leaf.index))];
}

function about({ facts, subject }) {
  const told = facts ?? {};
  if (told["task.stage"]) return `${told["task.stage"]}, attempt ${told["task.attempt"] ?? 1}`;
  if (told.route) return `${told.method} ${told.route} → ${told.status}`;
  return subject ? `${subject.kind} ${short(subject.id, 40)}` : "";
}
