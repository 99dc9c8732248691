"""Column lineage, against sqlglot's own lineage as an independent oracle."""

from __future__ import annotations

from typing import Any

import pytest
from barecount_local import sample
from barecount_manifest import ColumnLineage, column_lineage, fields_of, load, parse
from sqlglot.lineage import lineage

SCHEMA = {"a": {"id": "BIGINT", "x": "DECIMAL(12,2)", "y": "DECIMAL(12,2)", "d": "DATE"}, "b": {"id": "BIGINT", "z": "BIGINT"}}


def of(*stages: tuple[list[str], str, str]) -> ColumnLineage:
    document: dict[str, Any] = load(sample.document(sample.MANIFEST))
    first = document["sources"][0]
    document["sources"] = [first | {"name": name} for name in SCHEMA]
    document["stages"] = [{"name": f"read-{n}", "kind": "read", "source": n, "output": n} for n in SCHEMA]
    for index, (inputs, output, sql) in enumerate(stages):
        document["stages"].append({"name": f"s{index}", "kind": "sql", "inputs": inputs, "output": output, "sql": sql})
    document["stages"].append({"name": "publish", "kind": "publish", "input": stages[-1][1], "sink": "revenue_kpi"})
    document["quality"], document["reconciliation"] = [], []
    return column_lineage(parse(document), SCHEMA)["revenue_kpi"]


def said(found: tuple[Any, ...]) -> set[str]:
    return {f"{i.source}.{i.column} {i.transformation}/{i.subtype}" for i in found}


def test_each_kind_of_influence_is_told_apart() -> None:
    found = of((["a", "b"], "o", """
        SELECT a.id, a.x + a.y AS s, sum(b.z) AS t, CASE WHEN a.d IS NULL THEN a.x ELSE 0 END AS c,
               sum(b.z) FILTER (WHERE a.y > 0) AS f, rank() OVER (PARTITION BY a.d ORDER BY a.x) AS r
        FROM a JOIN b ON a.id = b.id WHERE a.y > 1 GROUP BY ALL ORDER BY s"""))  # fmt: skip
    assert said(found.columns["id"]) == {"a.id DIRECT/IDENTITY"}
    assert said(found.columns["s"]) == {"a.x DIRECT/TRANSFORMATION", "a.y DIRECT/TRANSFORMATION"}
    assert said(found.columns["t"]) == {"b.z DIRECT/AGGREGATION"}
    assert said(found.columns["c"]) == {"a.d INDIRECT/CONDITIONAL", "a.x DIRECT/TRANSFORMATION"}
    assert said(found.columns["f"]) == {"b.z DIRECT/AGGREGATION", "a.y INDIRECT/FILTER"}
    assert said(found.columns["r"]) == {"a.d INDIRECT/WINDOW", "a.x INDIRECT/WINDOW"}
    assert {"a.id INDIRECT/JOIN", "b.id INDIRECT/JOIN", "a.y INDIRECT/FILTER", "a.x INDIRECT/SORT"} <= said(found.dataset)


def test_stages_are_followed_back_to_the_sources() -> None:
    found = of(
        (["a"], "p", "WITH c AS (SELECT id, x * 2 AS dbl FROM a WHERE d > DATE '2025-01-01') SELECT * FROM c"),
        (["p"], "q", "SELECT id, sum(dbl) AS total FROM p GROUP BY id"),
        (["q"], "r", "SELECT total AS t FROM q UNION ALL SELECT id FROM q"),
    )
    assert said(found.columns["t"]) == {"a.x DIRECT/AGGREGATION", "a.id DIRECT/IDENTITY"}
    assert said(found.dataset) == {"a.d INDIRECT/FILTER", "a.id INDIRECT/GROUP_BY"}


@pytest.mark.parametrize(
    ("sql", "inputs"),
    [
        ("SELECT id, x + y AS s FROM a", ["a"]),
        ("SELECT q.id, q.m AS m FROM (SELECT id, max(x) AS m FROM a GROUP BY id) AS q JOIN b ON q.id = b.id", ["a", "b"]),
        ("WITH u AS (SELECT x AS v FROM a UNION ALL SELECT z FROM b) SELECT sum(v) AS v FROM u", ["a", "b"]),
        ("SELECT coalesce(a.x, b.z) AS c, a.* FROM a LEFT JOIN b USING (id)", ["a", "b"]),
    ],
)
def test_direct_inputs_are_those_that_sqlglots_lineage_finds(sql: str, inputs: list[str]) -> None:
    found = of((inputs, "o", sql))
    for column, origins in found.columns.items():
        nodes = lineage(column, sql, schema=SCHEMA, dialect="duckdb").walk()
        oracle = {(node.source.name, node.name.split(".")[-1]) for node in nodes if not node.downstream and node.source.key == "table"}
        assert {(i.source, i.column) for i in origins if i.transformation == "DIRECT"} == oracle, column


def test_the_samples_revenue_comes_from_the_sales_value() -> None:
    contract = load(sample.document("retail-transactions.odcs.yaml"))
    found = column_lineage(parse(sample.document(sample.MANIFEST)), {"transactions": {f.name: f.type for f in fields_of(contract)}})
    kpi = found["revenue_kpi"]
    assert said(kpi.columns["revenue"]) == {"transactions.sales_value DIRECT/AGGREGATION"}
    assert said(kpi.dataset) == {"transactions.store_id INDIRECT/GROUP_BY"}
