// Where a run's data came from and where it went, as a chain from left to right.

import { get } from "../api.js";
import { el, fill } from "../dom.js";
import { number, short } from "../format.js";
import { badge, empty, paced, problem, section, when } from "../parts.js";
import { ended } from "../run_rows.js";

export function lineage(runId) {
  const place = el("div");
  const root = section("Lineage", { id: "lineage" }, place);
  let complete = false;

  const read = paced(async () => {
    try {
      const graph = await get("/lineage", { run_id: runId });
      complete = ["succeeded", "failed", "cancelled"].includes(graph.nodes.find((node) => node.id === `run:${runId}`)?.status);
      fill(place, chain(graph, `run:${runId}`));
    } catch (error) {
      // lineage follows the run a moment later
      fill(place, error.status === 404 ? empty("No lineage yet", "It is derived when the run starts.") : problem(error));
    }
  });
  const follow = (found) => found.status !== "refused" && !complete && (ended(found.status) || found.status === "running");
  return { root, read, follow };
}

function chain({ nodes, edges }, self) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const into = (kind) => edges.filter((edge) => edge.to === self && edge.kind === kind);
  const inputs = into("read"), outputs = edges.filter((edge) => edge.from === self && edge.kind === "wrote");
  const versions = [...into("ran"), ...into("bound")].map((edge) => byId.get(edge.from)).filter(Boolean);
  const before = into("replayed").map((edge) => byId.get(edge.from)).filter(Boolean);
  const after = edges.filter((edge) => edge.from === self && edge.kind === "replayed").map((edge) => byId.get(edge.to)).filter(Boolean);
  const run = byId.get(self);
  const datasets = (found, side) => found.map((edge) => dataset(byId.get(edge.from === self ? edge.to : edge.from), edge, side));
  return el("div.chain",
    el("div.column", el("h3", "Read"), inputs.length ? datasets(inputs, "read") : el("p.faint", "nothing recorded")),
    el("span.arrow", { "aria-hidden": "true" }, "→"),
    el("div.column", el("h3", "Run"),
      el("div.node.self", el("code", self.slice(4)), run?.status ? badge(run.status) : null,
        versions.map((node) => el("small", node.kind, " ", el("b", node.kind === "manifest" ? `${node.pipeline} v${node.version}` : `${node.name} ${node.version}`),
          node.registered?.digest ? ` ${short(node.registered.digest, 15)}` : "")),
        before.map((node) => el("small", "replays ", el("a", { href: `#/runs/${encodeURIComponent(node.run_id)}` }, node.run_id))),
        after.map((node) => el("small", "replayed by ", el("a", { href: `#/runs/${encodeURIComponent(node.run_id)}` }, node.run_id))))),
    el("span.arrow", { "aria-hidden": "true" }, "→"),
    el("div.column", el("h3", "Wrote"), outputs.length ? datasets(outputs, "wrote") : el("p.faint", "nothing was published")));
}

function dataset(node, edge, side) {
  const name = node?.name ?? node?.dataset ?? (side === "read" ? edge.from : edge.to);
  const contract = node?.facets?.barecount_contract;
  return el("div.node",
    el("code", { title: node?.dataset ?? name }, name),
    contract ? el("small", "contract ", el("b", `${contract.name} ${contract.version}`)) : null,
    edge.rows !== undefined && edge.rows !== null ? el("small", `${number(edge.rows)} rows, version ${edge.version}`) : null,
    side === "read" && edge.version ? el("small", { title: edge.version }, short(edge.version, 19)) : null,
    edge.at ? el("small", when(edge.at)) : null);
}
