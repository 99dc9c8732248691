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
from barecount_readmodel import Connection, Folded, columns_of

ENDED = ("succeeded", "failed", "cancelled", "refused")
# refusals that say nothing about the run that has this id
_OF_THE_COMMAND = frozenset({"run-exists", "run-ended", "run-not-found"})

# the two topics are projected side by side, so neither event may take back what the other said
_REQUESTED = (
    *("created_at", "requested_at", "requested_by", "pipeline", "environment", "mode", "plan", "plan_digest", "rerun_of", "root_run"),
    "correlation",
)
_QUEUED = ("status", "pool", "queued_at", "stages")


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
    """
    INDEXES = """
    CREATE INDEX ON runs (tenant, created_at DESC, run_id DESC);
    CREATE INDEX ON runs (tenant, pipeline, created_at DESC, run_id DESC);
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        runs = Folded("runs", ("tenant", "run_id"), _COLUMNS)
        for record in records:
            if type(record.payload) in _TOLD:
                _apply(runs, record.envelope, record)
        await runs.write(conn)


_COLUMNS = columns_of(RunsView.DDL, "runs")
# a look at the type before the patterns: most records of a run say nothing of its row
_TOLD = frozenset({RunRequested, ReplayApproved, RunQueued, RunStarted, RunCancelling, RunSucceeded, RunFailed, RunCancelled, RunRefused})


def _apply(runs: Folded, event: Heading, record: Recorded) -> None:
    tenant, time = event.tenant, event.time
    match record.payload:
        case RunRequested(run_id=run_id, plan=plan, plan_digest=digest) | ReplayApproved(new_run_id=run_id, plan=plan, plan_digest=digest):
            row = _planned(event, "requested", plan, digest) | {"requested_at": time, "requested_by": event.principal}
            runs.add((tenant, run_id), row, _REQUESTED)
        case RunQueued() as queued:
            stages = [{"name": stage["name"], "kind": stage["kind"]} for stage in queued.bodies.manifest["stages"]]
            row = _planned(event, "queued", queued.plan, queued.plan_digest)
            row |= {"pool": queued.pool, "queued_at": time, "stages": json.dumps(stages)}
            runs.add((tenant, queued.run_id), row, _QUEUED)
        case RunStarted(run_id=run_id):
            runs.set((tenant, run_id), status="running", started_at=time)
        case RunCancelling(run_id=run_id, reason=reason):
            runs.set((tenant, run_id), status="cancelling", cancel_reason=reason)
        case RunSucceeded() as ended:
            runs.set((tenant, ended.run_id), status="succeeded", **_ended(time, ended))
        case RunFailed() as failed:
            why = {"error_stage": failed.stage, "error_type": failed.error_type, "error_message": failed.error_message}
            runs.set((tenant, failed.run_id), status="failed", **_ended(time, failed), **why)
        case RunCancelled() as cancelled:
            runs.set((tenant, cancelled.run_id), status="cancelled", cancel_reason=cancelled.reason, **_ended(time, cancelled))
        case RunRefused() as refused if refused.code not in _OF_THE_COMMAND:
            runs.add((tenant, refused.run_id), {"status": "refused", "created_at": time, "correlation": event.correlation})
            why = {"error_type": refused.code, "error_message": refused.detail}
            runs.set((tenant, refused.run_id), status="refused", ended_at=time, **why)
        case _:
            pass


def _planned(event: Heading, status: str, plan: PlanSummary, digest: str) -> dict[str, Any]:
    return {
        "status": status,
        "created_at": event.time,
        "correlation": event.correlation,
        "pipeline": plan.pipeline,
        "environment": plan.environment,
        "mode": plan.mode,
        "plan": plan.model_dump_json(),
        "plan_digest": digest,
        "rerun_of": plan.rerun_of,
        "root_run": plan.root_run,
    }


def _ended(time: datetime, event: RunSucceeded | RunFailed | RunCancelled) -> dict[str, Any]:
    return {"ended_at": time, "totals": event.totals.model_dump_json()}
