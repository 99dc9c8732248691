"""Runs: a list, one whole, its figures, what it published."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import asyncpg
from barecount_chassis import NOT_MODIFIED, TOLD, AsOf, Caller, IfNoneMatch, require, versioned
from barecount_readmodel import Connection
from fastapi import APIRouter, Query
from fastapi.responses import Response

from barecount_execution.views.runs import ENDED

from .answers import Metrics, RunPartitions, Runs, RunShown
from .figures import figures
from .reading import Cursor, Limit, Reads, decode, no_such_run, page, parsed, stamp
from .stages import stages
from .waiting import waiting_for

router = APIRouter(tags=["runs"])
Reader = Annotated[Caller, require("runs:read")]

_LISTED = (
    "run_id, status, pipeline, environment, mode, plan->'data_partitions' AS data_partitions, rerun_of, root_run, created_at, "
    "queued_at, started_at, ended_at, totals, error_stage, error_type, error_message"
)


@router.get("/runs", summary="The runs of your tenant, newest first", response_model=None, responses={200: {"model": Runs}})
async def list_runs(
    caller: Reader,
    reads: Reads,
    pipeline: Annotated[str | None, Query(max_length=128)] = None,
    status: Annotated[str | None, Query(max_length=32, description="requested, queued, running, cancelling, or how it ended")] = None,
    partition: Annotated[str | None, Query(max_length=64, description="A data partition that the run has")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Filters add up; a page ends where `limit` says."""
    before: list[Any] = decode(cursor, datetime, str) if cursor else [None, None]
    async with reads.rows(caller) as conn:
        rows = await conn.fetch(
            f"SELECT {_LISTED} FROM runs WHERE tenant = $1 AND ($2::text IS NULL OR pipeline = $2) AND ($3::text IS NULL OR status = $3) "
            "AND ($4::text IS NULL OR plan->'data_partitions' ? $4) AND ($5::timestamptz IS NULL OR (created_at, run_id) < ($5, $6)) "
            "ORDER BY created_at DESC, run_id DESC LIMIT $7",
            *(caller.tenant, pipeline, status, partition, *before, limit + 1),
        )
    return page([_listed(row) for row in rows], limit, "created_at", "run_id")


@router.get(
    "/runs/{run_id}",
    summary="One run: plan, status, stages with their attempts, figures, what it waits for",
    response_model=None,
    responses={200: {"model": RunShown, "headers": TOLD}, **NOT_MODIFIED},
)
async def show_run(run_id: str, caller: Reader, reads: Reads, as_of: AsOf = None, if_none_match: IfNoneMatch = None) -> Response:
    """With `as_of`, as it was then. `run-not-found` when your tenant has no such run (then)."""
    async with reads.run(caller, run_id, as_of) as seen:
        conn = seen.conn
        row = await _run(conn, caller, run_id)
        attempts = await _attempts(conn, caller, run_id)
        waits = await waiting_for(conn, caller.tenant, row, attempts)
        drift = await conn.fetch('SELECT * FROM drift WHERE tenant = $1 AND run_id = $2 ORDER BY at, "offset"', caller.tenant, run_id)
    shown = {
        **_listed(row),
        "plan": parsed(row["plan"]),
        "plan_digest": row["plan_digest"],
        "requested_at": stamp(row["requested_at"]),
        "requested_by": row["requested_by"],
        "pool": row["pool"],
        "correlation": str(row["correlation"]),
        "cancel_reason": row["cancel_reason"],
        "stages": stages(row, attempts),
        "waiting_for": waits,
        "drift": [_drift(one) for one in drift],
    }
    return versioned(shown, seen.headers, if_none_match)


@router.get(
    "/runs/{run_id}/metrics",
    summary="What a run read, gave, set aside and reconciled; by stage too",
    response_model=None,
    responses={200: {"model": Metrics, "headers": TOLD}, **NOT_MODIFIED},
)
async def run_metrics(run_id: str, caller: Reader, reads: Reads, as_of: AsOf = None, if_none_match: IfNoneMatch = None) -> Response:
    """The ended run's totals, or what its closed attempts have counted so far; with `as_of`, until then.

    `run-not-found` when your tenant has no such run (then).
    """
    async with reads.run(caller, run_id, as_of) as seen:
        row = await _run(seen.conn, caller, run_id)
        attempts = await _attempts(seen.conn, caller, run_id)
    return versioned(figures(row, attempts), seen.headers, if_none_match)


@router.get(
    "/runs/{run_id}/partitions",
    summary="The data partitions of a run and what was published of them",
    response_model=None,
    responses={200: {"model": RunPartitions, "headers": TOLD}, **NOT_MODIFIED},
)
async def run_partitions(run_id: str, caller: Reader, reads: Reads, as_of: AsOf = None, if_none_match: IfNoneMatch = None) -> Response:
    """Each with the commits in Delta tables that the run made; with `as_of`, as it was then.

    `run-not-found` when your tenant has no such run (then).
    """
    async with reads.run(caller, run_id, as_of) as seen:
        row = await _run(seen.conn, caller, run_id)
        made = await seen.conn.fetch(
            "SELECT * FROM publications WHERE tenant = $1 AND run_id = $2 ORDER BY data_partition, table_path", caller.tenant, run_id
        )
    by_name: dict[str, list[dict[str, Any]]] = {}
    for publication in made:
        by_name.setdefault(publication["data_partition"], []).append(_publication(publication))
    names: list[str] = (parsed(row["plan"]) or {}).get("data_partitions", [])
    ended = row["status"] in ENDED
    items = [
        {
            "data_partition": name,
            "status": "published" if name in by_name else "not-published" if ended else "pending",
            "publications": by_name.get(name, []),
        }
        for name in names
    ]
    return versioned({"items": items, "next_cursor": None}, seen.headers, if_none_match)


async def _run(conn: Connection, caller: Caller, run_id: str) -> asyncpg.Record:
    row = await conn.fetchrow(
        "SELECT *, plan->'data_partitions' AS data_partitions FROM runs WHERE tenant = $1 AND run_id = $2", caller.tenant, run_id
    )
    if row is None:
        raise no_such_run()
    return row


async def _attempts(conn: Connection, caller: Caller, run_id: str) -> list[asyncpg.Record]:
    return await conn.fetch(
        "SELECT * FROM attempts WHERE tenant = $1 AND run_id = $2 ORDER BY dispatched_at, attempt, nonce", caller.tenant, run_id
    )


def _listed(row: asyncpg.Record) -> dict[str, Any]:
    error = None
    if row["error_type"] is not None:
        error = {"stage": row["error_stage"], "error_type": row["error_type"], "message": row["error_message"]}
    return {
        "run_id": row["run_id"],
        "status": row["status"],
        "pipeline": row["pipeline"],
        "environment": row["environment"],
        "mode": row["mode"],
        "data_partitions": parsed(row["data_partitions"]) or [],
        "rerun_of": row["rerun_of"],
        "root_run": row["root_run"],
        "created_at": stamp(row["created_at"]),
        "queued_at": stamp(row["queued_at"]),
        "started_at": stamp(row["started_at"]),
        "ended_at": stamp(row["ended_at"]),
        "totals": parsed(row["totals"]),
        "error": error,
    }


def _drift(row: asyncpg.Record) -> dict[str, Any]:
    names = ("kind", "dataset", "data_partition", "expected", "actual")
    return {**{name: row[name] for name in names}, "detected_at": stamp(row["at"])}


def _publication(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "table": row["table_path"],
        "ticket": row["ticket"],
        "delta_version": row["delta_version"],
        "files_digest": row["files_digest"],
        "records": row["records"],
        "already": row["already"],
        "reconciliations": parsed(row["reconciliations"]),
        "published_at": stamp(row["published_at"]),
    }
