"""What was tried for a run, where does each attempt stand, and what was published?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from barecount_contracts import (
    DataPartitionPublished,
    Heading,
    PublishTicketGranted,
    TaskDispatched,
    TaskFailed,
    TaskLeaseExpired,
    TaskProgressed,
    TaskRetryScheduled,
    TaskStarted,
    TaskSucceeded,
)
from barecount_eventlog import Recorded
from barecount_readmodel import Connection


class TasksView:
    NAME = "tasks"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("runs.events",)
    DDL = """
    CREATE TABLE attempts (
        tenant text NOT NULL, nonce text NOT NULL, run_id text NOT NULL, data_partition text NOT NULL, stage text NOT NULL,
        attempt integer NOT NULL, purpose text NOT NULL, worker_id text NOT NULL, incarnation text NOT NULL, status text NOT NULL,
        dispatched_at timestamptz NOT NULL, lease_until timestamptz NOT NULL, started_at timestamptz, ended_at timestamptz,
        metrics jsonb, checks jsonb, reconciliations jsonb, inputs jsonb, outputs jsonb, ticket jsonb,
        error_type text, error_message text, retriable boolean, retry_at timestamptz,
        PRIMARY KEY (tenant, nonce)
    );
    CREATE INDEX ON attempts (tenant, run_id, dispatched_at);
    CREATE TABLE publications (
        tenant text NOT NULL, run_id text NOT NULL, data_partition text NOT NULL, table_path text NOT NULL, ticket bigint NOT NULL,
        delta_version bigint NOT NULL, files_digest text NOT NULL, records bigint NOT NULL, already boolean NOT NULL,
        reconciliations jsonb NOT NULL, published_at timestamptz NOT NULL,
        PRIMARY KEY (tenant, run_id, data_partition, table_path)
    );
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        for record in records:
            await _apply(conn, record.envelope, record)


async def _apply(conn: Connection, event: Heading, record: Recorded) -> None:
    match record.payload:
        case TaskDispatched(run_id=run_id, task=task, lease_until=until, purpose=purpose):
            await conn.execute(
                "INSERT INTO attempts (tenant, nonce, run_id, data_partition, stage, attempt, purpose, worker_id, incarnation, status, "
                "dispatched_at, lease_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'dispatched', $10, $11) ON CONFLICT DO NOTHING",
                *(event.tenant, task.nonce, run_id, task.data_partition, task.stage, task.attempt, purpose, task.worker_id),
                *(task.incarnation, event.time, until),
            )
        case PublishTicketGranted(nonce=nonce, ticket=ticket):
            await _set(conn, event, nonce, ticket=ticket.model_dump_json())
        case TaskStarted(task=task, lease_until=until):
            await _set(conn, event, task.nonce, status="running", started_at=event.time, lease_until=until)
        case TaskProgressed(task=task, lease_until=until):
            await _set(conn, event, task.nonce, lease_until=until)
        case TaskSucceeded() as done:
            await _set(conn, event, done.task.nonce, status="succeeded", ended_at=event.time, **_found(done), outputs=_list(done.outputs))
        case TaskFailed() as failed:
            why = {"error_type": failed.error_type, "error_message": failed.error_message, "retriable": failed.retriable}
            await _set(conn, event, failed.task.nonce, status="failed", ended_at=event.time, **_found(failed), **why)
        case TaskLeaseExpired(task=task):
            await _set(conn, event, task.nonce, status="lost", ended_at=event.time, error_type="worker-lost")
        case TaskRetryScheduled() as retry:
            await conn.execute(
                "UPDATE attempts SET retry_at = $1 WHERE tenant = $2 AND run_id = $3 AND stage = $4 AND data_partition = $5 "
                "AND attempt = $6",
                *(retry.not_before, event.tenant, retry.run_id, retry.stage, retry.data_partition, retry.next_attempt - 1),
            )
        case DataPartitionPublished(run_id=run_id, publication=made, reconciliations=compared):
            await conn.execute(
                "INSERT INTO publications VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
                *(event.tenant, run_id, made.data_partition, made.table, made.ticket, made.delta_version, made.files_digest),
                *(made.records, made.already, _list(compared), event.time),
            )
        case _:
            pass


def _found(event: TaskSucceeded | TaskFailed) -> dict[str, Any]:
    return {
        "metrics": event.metrics.model_dump_json(),
        "checks": _list(event.checks),
        "reconciliations": _list(event.reconciliations),
        "inputs": _list(event.inputs),
    }


def _list(parts: Sequence[Any]) -> str:
    return json.dumps([part.model_dump(mode="json") for part in parts])


async def _set(conn: Connection, event: Heading, nonce: str, **columns: Any) -> None:
    assignments = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 3))
    await conn.execute(f"UPDATE attempts SET {assignments} WHERE tenant = $1 AND nonce = $2", event.tenant, nonce, *columns.values())
