"""Log lines of a run's stages, and records that a stage could not take."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import asyncpg
from barecount_chassis import Caller, require
from fastapi import APIRouter, Query

from .answers import DeadLetters, LogLines
from .reading import Cursor, Limit, Reads, decode, no_such_run, page, parsed, stamp

router = APIRouter(tags=["runs"])
LEVELS = ["debug", "info", "warning", "error"]
Filter = Annotated[str | None, Query(max_length=256)]


@router.get("/runs/{run_id}/logs", summary="The log lines of a run, in order", response_model=None, responses={200: {"model": LogLines}})
async def run_logs(
    run_id: str,
    caller: Annotated[Caller, require("runs:read")],
    reads: Reads,
    stage: Filter = None,
    error_type: Filter = None,
    level: Annotated[Literal["debug", "info", "warning", "error"] | None, Query(description="This level and above")] = None,
    limit: Limit = 200,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """By stage, error type and level, as the run's stages wrote them. `run-not-found` when your tenant has no such run."""
    after = decode(cursor, int)[0] if cursor else -1
    async with reads.rows(caller) as conn:
        if not await conn.fetchval("SELECT 1 FROM runs WHERE tenant = $1 AND run_id = $2", caller.tenant, run_id):
            raise no_such_run()
        rows = await conn.fetch(
            "SELECT * FROM logs WHERE tenant = $1 AND run_id = $2 AND kafka_offset > $3 AND ($4::text IS NULL OR stage = $4) "
            "AND ($5::text IS NULL OR error_type = $5) AND ($6::text[] IS NULL OR level = ANY($6)) ORDER BY kafka_offset LIMIT $7",
            *(caller.tenant, run_id, after, stage, error_type, LEVELS[LEVELS.index(level) :] if level else None, limit + 1),
        )
    return page([_line(row) for row in rows], limit, "position")


@router.get(
    "/dlq", summary="Records that a stage could not take, oldest first", response_model=None, responses={200: {"model": DeadLetters}}
)
async def dead_letters(
    caller: Annotated[Caller, require("dlq:read")],
    reads: Reads,
    run_id: Filter = None,
    stage: Filter = None,
    error_type: Filter = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Each with its reason, stage, source position and payload."""
    after: list[Any] = decode(cursor, datetime, str) if cursor else [None, None]
    async with reads.rows(caller) as conn:
        rows = await conn.fetch(
            "SELECT * FROM dead_letters WHERE tenant = $1 AND ($2::text IS NULL OR run_id = $2) AND ($3::text IS NULL OR stage = $3) "
            "AND ($4::text IS NULL OR error_type = $4) AND ($5::timestamptz IS NULL OR (recorded_at, entry_id) > ($5, $6)) "
            "ORDER BY recorded_at, entry_id LIMIT $7",
            *(caller.tenant, run_id, stage, error_type, *after, limit + 1),
        )
    return page([_entry(row) for row in rows], limit, "time", "entry_id")


def _line(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "time": stamp(row["logged_at"]),
        "stage": row["stage"],
        "data_partition": row["data_partition"],
        "attempt": row["attempt"],
        "worker_id": row["worker_id"],
        "level": row["level"],
        "event": row["event"],
        "error_type": row["error_type"],
        "fields": parsed(row["fields"]),
        "sequence": row["sequence"],
        "position": row["kafka_offset"],
    }


def _entry(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "entry_id": row["entry_id"],
        "run_id": row["run_id"],
        "pipeline": row["pipeline"],
        "stage": row["stage"],
        "data_partition": row["data_partition"],
        "attempt": row["attempt"],
        "error_type": row["error_type"],
        "reason": row["reason"],
        "source": {"path": row["source_path"], "line": row["source_line"]},
        "payload": row["payload"],
        "time": stamp(row["recorded_at"]),
    }
