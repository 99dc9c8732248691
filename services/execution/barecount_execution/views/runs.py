"""Which runs are there, and where does each stand? A run shows as `requested` before execution has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from barecount_contracts import (
    Heading,
    PlanSummary,
    ReplayApproved,
    RunCancelled,
    RunCancelling,
    RunFailed,
    RunQueued,
    RunRefused,
    RunRequested,
    RunStarted,
    RunSucceeded,
)
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

ENDED = ("succeeded", "failed", "cancelled", "refused")
# refusals that say nothing about the run that has this id
_OF_THE_COMMAND = frozenset({"run-exists", "run-ended", "run-not-found"})

_INSERT = """
INSERT INTO runs AS held (tenant, run_id, status, created_at, correlation, pipeline, environment, mode, plan, plan_digest, rerun_of,
    root_run, requested_at, requested_by, pool, queued_at, stages)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (tenant, run_id) DO UPDATE SET
"""
# the two topics are projected side by side, so neither event may take back what the other said
_REQUESTED = _INSERT + (
    "created_at = excluded.created_at, requested_at = excluded.requested_at, requested_by = excluded.requested_by, "
    "pipeline = excluded.pipeline, environment = excluded.environment, mode = excluded.mode, plan = excluded.plan, "
    "plan_digest = excluded.plan_digest, rerun_of = excluded.rerun_of, root_run = excluded.root_run, correlation = excluded.correlation"
)
_QUEUED = _INSERT + "status = excluded.status, pool = excluded.pool, queued_at = excluded.queued_at, stages = excluded.stages"


class RunsView:
    NAME = "runs"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("control.events", "runs.events")
    DDL = """
    CREATE TABLE runs (
        tenant text NOT NULL, run_id text NOT NULL, status text NOT NULL, created_at timestamptz NOT NULL, correlation uuid NOT NULL,
        pipeline text, environment text, mode text, plan jsonb, plan_digest text, rerun_of text, root_run text,
        requested_at timestamptz, requested_by text, pool text, queued_at timestamptz, stages jsonb,
        started_at timestamptz, ended_at timestamptz, totals jsonb,
        error_stage text, error_type text, error_message text, cancel_reason text,
        PRIMARY KEY (tenant, run_id)
    );
    CREATE INDEX ON runs (tenant, created_at DESC, run_id DESC);
    CREATE INDEX ON runs (tenant, pipeline, created_at DESC, run_id DESC);
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        for record in records:
            await _apply(conn, record.envelope, record)


async def _apply(conn: Connection, event: Heading, record: Recorded) -> None:
    match record.payload:
        case RunRequested(run_id=run_id, plan=plan, plan_digest=digest) | ReplayApproved(new_run_id=run_id, plan=plan, plan_digest=digest):
            await conn.execute(
                _REQUESTED, *_plan_row(event, run_id, "requested", plan, digest), event.time, event.principal, None, None, None
            )
        case RunQueued() as queued:
            stages = [{"name": stage["name"], "kind": stage["kind"]} for stage in queued.bodies.manifest["stages"]]
            row = _plan_row(event, queued.run_id, "queued", queued.plan, queued.plan_digest)
            await conn.execute(_QUEUED, *row, None, None, queued.pool, event.time, json.dumps(stages))
        case RunStarted(run_id=run_id):
            await _set(conn, event, run_id, status="running", started_at=event.time)
        case RunCancelling(run_id=run_id, reason=reason):
            await _set(conn, event, run_id, status="cancelling", cancel_reason=reason)
        case RunSucceeded() as ended:
            await _set(conn, event, ended.run_id, status="succeeded", **_ended(event.time, ended))
        case RunFailed() as failed:
            why = {"error_stage": failed.stage, "error_type": failed.error_type, "error_message": failed.error_message}
            await _set(conn, event, failed.run_id, status="failed", **_ended(event.time, failed), **why)
        case RunCancelled() as cancelled:
            await _set(conn, event, cancelled.run_id, status="cancelled", cancel_reason=cancelled.reason, **_ended(event.time, cancelled))
        case RunRefused() as refused if refused.code not in _OF_THE_COMMAND:
            await conn.execute(
                "INSERT INTO runs (tenant, run_id, status, created_at, correlation) VALUES ($1, $2, 'refused', $3, $4) "
                "ON CONFLICT DO NOTHING",
                event.tenant,
                refused.run_id,
                event.time,
                event.correlation,
            )
            await _set(
                conn, event, refused.run_id, status="refused", ended_at=event.time, error_type=refused.code, error_message=refused.detail
            )
        case _:
            pass


def _plan_row(event: Heading, run_id: str, status: str, plan: PlanSummary, digest: str) -> tuple[Any, ...]:
    return (
        event.tenant,
        run_id,
        status,
        event.time,
        event.correlation,
        plan.pipeline,
        plan.environment,
        plan.mode,
        plan.model_dump_json(),
        digest,
        plan.rerun_of,
        plan.root_run,
    )


def _ended(time: datetime, event: RunSucceeded | RunFailed | RunCancelled) -> dict[str, Any]:
    return {"ended_at": time, "totals": event.totals.model_dump_json()}


async def _set(conn: Connection, event: Heading, run_id: str, **columns: Any) -> None:
    assignments = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 3))
    await conn.execute(f"UPDATE runs SET {assignments} WHERE tenant = $1 AND run_id = $2", event.tenant, run_id, *columns.values())
