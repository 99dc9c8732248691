"""What came from what: runs, the datasets that they read and wrote, and columns. Edges are directed and hold what was seen, not what was
planned: a run that failed before it published wrote nothing.

Runs stand in different partitions of lineage.events, which are read side by side. So that the rows do not depend on who is read first,
what a later event replaces says of when it is (`at`, then the run id), and an older one changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from barecount_contracts import LineageEmitted
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

from .events import clean

STATUS = {"START": "running", "COMPLETE": "succeeded", "FAIL": "failed", "ABORT": "cancelled"}


class Graph:
    NAME = "graph"
    VERSION = 2
    TOPICS: tuple[str, ...] = ("lineage.events",)
    DDL = """
    CREATE TABLE lineage_runs (
        tenant text NOT NULL,
        run_id text NOT NULL,
        uuid text NOT NULL,
        namespace text NOT NULL,
        pipeline text NOT NULL,
        status text NOT NULL,
        started timestamptz,
        ended timestamptz,
        facts jsonb NOT NULL,
        error text,
        PRIMARY KEY (tenant, run_id)
    );
    CREATE TABLE lineage_datasets (
        tenant text NOT NULL,
        dataset text NOT NULL,
        in_table text,
        PRIMARY KEY (tenant, dataset)
    );
    CREATE TABLE lineage_facets (
        tenant text NOT NULL,
        dataset text NOT NULL,
        facet text NOT NULL,
        body jsonb NOT NULL,
        at timestamptz NOT NULL,
        run_id text NOT NULL,
        PRIMARY KEY (tenant, dataset, facet)
    );
    CREATE INDEX lineage_datasets_table ON lineage_datasets (tenant, in_table);
    CREATE TABLE lineage_reads (
        tenant text NOT NULL,
        run_id text NOT NULL,
        dataset text NOT NULL,
        version text,
        rows bigint,
        at timestamptz NOT NULL,
        PRIMARY KEY (tenant, run_id, dataset)
    );
    CREATE INDEX lineage_reads_dataset ON lineage_reads (tenant, dataset, at);
    CREATE TABLE lineage_writes (
        tenant text NOT NULL,
        run_id text NOT NULL,
        dataset text NOT NULL,
        version text NOT NULL,
        rows bigint,
        at timestamptz NOT NULL,
        PRIMARY KEY (tenant, run_id, dataset)
    );
    CREATE INDEX lineage_writes_dataset ON lineage_writes (tenant, dataset, at);
    CREATE TABLE lineage_columns_of (
        tenant text NOT NULL,
        dataset text NOT NULL,
        at timestamptz NOT NULL,
        run_id text NOT NULL,
        PRIMARY KEY (tenant, dataset)
    );
    CREATE TABLE lineage_columns (
        tenant text NOT NULL,
        dataset text NOT NULL,
        field text NOT NULL,
        input text NOT NULL,
        input_field text NOT NULL,
        actions jsonb NOT NULL,
        run_id text NOT NULL,
        PRIMARY KEY (tenant, dataset, field, input, input_field)
    );
    CREATE INDEX lineage_columns_input ON lineage_columns (tenant, input, input_field);
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        for record in records:
            if isinstance(payload := record.payload, LineageEmitted):
                await _apply(conn, record.envelope.tenant, clean(payload.run_id), cleaned(payload.event))


async def _apply(conn: Connection, tenant: str, run_id: str, event: Mapping[str, Any]) -> None:
    at, kind = datetime.fromisoformat(event["eventTime"]), event["eventType"]
    ended = kind != "START"
    await _run(conn, tenant, run_id, event, at, ended=ended)
    if ended:
        # the end says what was read; the start only what would be
        await conn.execute("DELETE FROM lineage_reads WHERE tenant = $1 AND run_id = $2", tenant, run_id)
    for item in sorted(event["inputs"], key=_id):
        await _dataset(conn, tenant, run_id, at, item)
        rows = item.get("inputFacets", {}).get("inputStatistics", {}).get("rowCount")
        await conn.execute(
            "INSERT INTO lineage_reads VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            tenant, run_id, _id(item), _version(item), rows, at,
        )  # fmt: skip
    for item in sorted(event["outputs"], key=_id):
        await _dataset(conn, tenant, run_id, at, item)
        version = _version(item)
        if version is None:
            continue
        rows = item.get("outputFacets", {}).get("outputStatistics", {}).get("rowCount")
        await conn.execute(
            "INSERT INTO lineage_writes VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            tenant, run_id, _id(item), version, rows, at,
        )  # fmt: skip
        await _columns(conn, tenant, run_id, at, item)


async def _run(conn: Connection, tenant: str, run_id: str, event: Mapping[str, Any], at: datetime, *, ended: bool) -> None:
    facets = event["run"]["facets"]
    facts = {name: value for name, value in facets.get("barecount_run", {}).items() if not name.startswith("_")}
    error = facets.get("errorMessage", {}).get("message")
    await conn.execute(
        "INSERT INTO lineage_runs VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (tenant, run_id) DO UPDATE SET "
        "status = excluded.status, ended = excluded.ended, facts = excluded.facts, error = excluded.error",
        tenant, run_id, event["run"]["runId"], event["job"]["namespace"], event["job"]["name"], STATUS[event["eventType"]],
        None if ended else at, at if ended else None, json.dumps(facts), error,
    )  # fmt: skip


async def _dataset(conn: Connection, tenant: str, run_id: str, at: datetime, item: Mapping[str, Any]) -> None:
    """A facet that is sent again replaces the whole facet; one that is not sent stays (OpenLineage.md)."""
    links = item["facets"].get("symlinks", {}).get("identifiers", [])
    table = next((f"{link['namespace']}:{link['name']}" for link in links if link["type"] == "TABLE"), None)
    await conn.execute(
        "INSERT INTO lineage_datasets VALUES ($1, $2, $3) ON CONFLICT (tenant, dataset) DO UPDATE SET "
        "in_table = coalesce(excluded.in_table, lineage_datasets.in_table)",
        tenant, _id(item), table,
    )  # fmt: skip
    await conn.executemany(
        "INSERT INTO lineage_facets AS held VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, dataset, facet) DO UPDATE SET "
        "body = excluded.body, at = excluded.at, run_id = excluded.run_id WHERE (excluded.at, excluded.run_id) >= (held.at, held.run_id)",
        [(tenant, _id(item), name, json.dumps(body), at, run_id) for name, body in sorted(item["facets"].items())],
    )


async def _columns(conn: Connection, tenant: str, run_id: str, at: datetime, item: Mapping[str, Any]) -> None:
    """The newest publication's columns. The field '' stands for what acts on all rows."""
    facet = item["facets"].get("columnLineage")
    if facet is None:
        return
    newest = await conn.fetchval(
        "INSERT INTO lineage_columns_of AS held VALUES ($1, $2, $3, $4) ON CONFLICT (tenant, dataset) DO UPDATE SET at = excluded.at, "
        "run_id = excluded.run_id WHERE (excluded.at, excluded.run_id) >= (held.at, held.run_id) RETURNING true",
        tenant, _id(item), at, run_id,
    )  # fmt: skip
    if not newest:
        return
    await conn.execute("DELETE FROM lineage_columns WHERE tenant = $1 AND dataset = $2", tenant, _id(item))
    fields = {name: found["inputFields"] for name, found in facet["fields"].items()} | {"": facet.get("dataset", [])}
    await conn.executemany(
        "INSERT INTO lineage_columns VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [
            (tenant, _id(item), name, _id(source), source["field"], json.dumps(source.get("transformations", [])), run_id)
            for name, sources in fields.items()
            for source in sources
        ],
    )


async def run(conn: Connection, run_id: str) -> dict[str, Any] | None:
    row = await conn.fetchrow("SELECT * FROM lineage_runs WHERE run_id = $1", run_id)
    if row is None:
        return None
    return {
        "run_id": row["run_id"], "openlineage_run": row["uuid"], "namespace": row["namespace"], "pipeline": row["pipeline"],
        "status": row["status"], "started": _iso(row["started"]), "ended": _iso(row["ended"]), "error": row["error"],
        "facts": json.loads(row["facts"]),
    }  # fmt: skip


async def dataset(conn: Connection, name: str) -> dict[str, Any] | None:
    """A dataset by `<namespace>:<name>`: its facets and the table it is a data partition of."""
    row = await conn.fetchrow("SELECT in_table FROM lineage_datasets WHERE dataset = $1", name)
    if row is None:
        return None
    facets = await conn.fetch("SELECT facet, body FROM lineage_facets WHERE dataset = $1 ORDER BY facet", name)
    return {"dataset": name, "table": row["in_table"], "facets": {one["facet"]: json.loads(one["body"]) for one in facets}}


async def partitions_of(conn: Connection, table: str, limit: int) -> list[str]:
    """The data partitions of a table that were published, newest key first."""
    rows = await conn.fetch(
        "SELECT DISTINCT d.dataset FROM lineage_datasets d JOIN lineage_writes w USING (tenant, dataset) WHERE d.in_table = $1 "
        "ORDER BY d.dataset DESC LIMIT $2",
        table, limit,
    )  # fmt: skip
    return [row["dataset"] for row in rows]


async def reads(conn: Connection, run_id: str) -> list[dict[str, Any]]:
    rows = await conn.fetch("SELECT dataset, version, rows, at FROM lineage_reads WHERE run_id = $1 ORDER BY dataset", run_id)
    return [dict(row) for row in rows]


async def writes(conn: Connection, run_id: str) -> list[dict[str, Any]]:
    rows = await conn.fetch("SELECT dataset, version, rows, at FROM lineage_writes WHERE run_id = $1 ORDER BY dataset", run_id)
    return [dict(row) for row in rows]


async def writer_of(conn: Connection, name: str, before: datetime | None) -> dict[str, Any] | None:
    """The run whose publication a dataset holds, now or at a moment."""
    row = await conn.fetchrow(
        "SELECT run_id, version, rows, at FROM lineage_writes WHERE dataset = $1 AND ($2::timestamptz IS NULL OR at < $2) "
        "ORDER BY at DESC, run_id DESC LIMIT 1",
        name, before,
    )  # fmt: skip
    return None if row is None else dict(row)


async def readers_of(conn: Connection, name: str, after: datetime | None, limit: int) -> list[dict[str, Any]]:
    """The runs that read a dataset, the newest first; after: only those that read what stood since then."""
    rows = await conn.fetch(
        "SELECT run_id, version, rows, at FROM lineage_reads WHERE dataset = $1 AND ($2::timestamptz IS NULL OR at >= $2) "
        "ORDER BY at DESC LIMIT $3",
        name, after, limit,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def columns(conn: Connection, name: str, field: str | None) -> list[dict[str, Any]]:
    """Which input columns every column of a dataset comes from; the field '' stands for what acts on all rows."""
    rows = await conn.fetch(
        "SELECT field, input, input_field, actions, run_id FROM lineage_columns WHERE dataset = $1 "
        "AND ($2::text IS NULL OR field IN ($2, '')) ORDER BY field, input, input_field",
        name, field,
    )  # fmt: skip
    return [dict(row) | {"actions": json.loads(row["actions"])} for row in rows]


def cleaned(value: Any) -> Any:
    """The value without what PostgreSQL's text and jsonb cannot hold."""
    match value:
        case str():
            return clean(value)
        case Mapping():
            return {clean(key): cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [cleaned(item) for item in value]
        case _:
            return value


def _id(item: Mapping[str, Any]) -> str:
    return f"{item['namespace']}:{item['name']}"


def _version(item: Mapping[str, Any]) -> str | None:
    version: str | None = item["facets"].get("version", {}).get("datasetVersion")
    return version


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
