// What a run is measured by (reconciliations) and what it has put into tables (published data partitions).

import { el } from "../dom.js";
import { number } from "../format.js";
import { badge, copyable, empty, section, when } from "../parts.js";

export function reconciliations(metrics) {
  const rows = metrics.reconciliations ?? [];
  if (!rows.length) return section("Reconciliation", {}, empty(metrics.final ? "Nothing was reconciled" : "Not reconciled yet"));
  const broken = rows.filter((one) => !one.holds).length;
  return section("Reconciliation", { aside: badge(broken ? "failed" : "ok", broken ? `${broken} of ${rows.length} differ` : "all totals agree") },
    el("div.scroll", el("table.dense",
      el("thead", el("tr", el("th", "Total"), el("th.num", "Expected"), el("th.num", "Actual"), el("th.num", "Difference"), el("th", "Holds"))),
      el("tbody", rows.map((one) => el("tr", { class: one.holds ? "" : "bad" },
        el("td", one.name), el("td.num", amount(one.expected)), el("td.num", amount(one.actual)), el("td.num.difference", amount(one.difference)),
        el("td", one.holds ? "✓ yes" : "✗ no")))))));
}

export function published(partitions, over) {
  const rows = partitions.flatMap((one) => one.publications.map((publication) => ({ ...publication, data_partition: one.data_partition })));
  if (!rows.length) return section("Published", {}, empty(over ? "Nothing was published" : "Nothing is published yet", "A run publishes only after its checks and reconciliations hold."));
  return section("Published", { count: rows.length },
    el("div.scroll", el("table.dense",
      el("thead", el("tr", el("th", "Partition"), el("th", "Table"), el("th.num", "Rows"), el("th.num", "Version"), el("th.num", "Ticket"), el("th", "Files"), el("th", "When"))),
      el("tbody", rows.map((one) => el("tr",
        el("td.tabular", one.data_partition), el("td", el("code", one.table)), el("td.num", number(one.records)), el("td.num", one.delta_version),
        el("td.num", one.ticket), el("td", copyable(one.files_digest, { size: 15, label: "digest" })), el("td", when(one.published_at))))))));
}

// amounts are decimal strings: only thousands are set apart, no digit is lost
const amount = (text) => String(text).replace(/^(-?)(\d+)/, (_all, sign, whole) => sign + whole.replace(/\B(?=(\d{3})+$)/g, ","));
