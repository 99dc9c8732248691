"""What was tried for a run, where does each attempt stand, and what was published?"""

from __future__ import annotations

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
from barecount_readmodel import Connection, Folded, columns_of
from pydantic_core import to_json


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
        attempts = Folded("attempts", ("tenant", "nonce"), _ATTEMPTS)
        publications = Folded("publications", ("tenant", "run_id", "data_partition", "table_path"), _PUBLICATIONS)
        for record in records:
            match record.payload:
                case payload if type(payload) not in _TOLD:
                    pass
                case TaskRetryScheduled() as retry:
                    # it does not name the attempt's nonce, so that the attempt must stand there
                    await attempts.write(conn)
                    await conn.execute(
                        "UPDATE attempts SET retry_at = $1 WHERE tenant = $2 AND run_id = $3 AND stage = $4 AND data_partition = $5 "
                        "AND attempt = $6",
                        *(retry.not_before, record.envelope.tenant, retry.run_id, retry.stage, retry.data_partition),
                        retry.next_attempt - 1,
                    )
                case DataPartitionPublished() as published:
                    _publish(publications, record.envelope, published)
                case _:
                    _apply(attempts, record.envelope, record)
        await attempts.write(conn)
        await publications.write(conn)


# a look at the type before the patterns
_TOLD = frozenset(
    {TaskDispatched, PublishTicketGranted, TaskStarted, TaskProgressed, TaskSucceeded, TaskFailed, TaskLeaseExpired, TaskRetryScheduled}
    | {DataPartitionPublished}
)
_ATTEMPTS, _PUBLICATIONS = columns_of(TasksView.DDL, "attempts"), columns_of(TasksView.DDL, "publications")


def _apply(attempts: Folded, event: Heading, record: Recorded) -> None:
    tenant, time = event.tenant, event.time
    match record.payload:
        case TaskDispatched(run_id=run_id, task=task, lease_until=until, purpose=purpose):
            who = {"worker_id": task.worker_id, "incarnation": task.incarnation}
            what = {"run_id": run_id, "data_partition": task.data_partition, "stage": task.stage, "attempt": task.attempt}
            row = {**what, "purpose": purpose, **who, "status": "dispatched", "dispatched_at": time, "lease_until": until}
            attempts.add((tenant, task.nonce), row)
        case PublishTicketGranted(nonce=nonce, ticket=ticket):
            attempts.set((tenant, nonce), ticket=ticket.model_dump_json())
        case TaskStarted(task=task, lease_until=until):
            attempts.set((tenant, task.nonce), status="running", started_at=time, lease_until=until)
        case TaskProgressed(task=task, lease_until=until):
            attempts.set((tenant, task.nonce), lease_until=until)
        case TaskSucceeded() as done:
            attempts.set((tenant, done.task.nonce), status="succeeded", ended_at=time, **_found(done), outputs=_list(done.outputs))
        case TaskFailed() as failed:
            why = {"error_type": failed.error_type, "error_message": failed.error_message, "retriable": failed.retriable}
            attempts.set((tenant, failed.task.nonce), status="failed", ended_at=time, **_found(failed), **why)
        case TaskLeaseExpired(task=task):
            attempts.set((tenant, task.nonce), status="lost", ended_at=time, error_type="worker-lost")
        case _:
            pass


def _publish(publications: Folded, event: Heading, published: DataPartitionPublished) -> None:
    made = published.publication
    publications.add(
        (event.tenant, published.run_id, made.data_partition, made.table),
        {
            "ticket": made.ticket,
            "delta_version": made.delta_version,
            "files_digest": made.files_digest,
            "records": made.records,
            "already": made.already,
            "reconciliations": _list(published.reconciliations),
            "published_at": event.time,
        },
    )


def _found(event: TaskSucceeded | TaskFailed) -> dict[str, Any]:
    return {
        "metrics": event.metrics.model_dump_json(),
        "checks": _list(event.checks),
        "reconciliations": _list(event.reconciliations),
        "inputs": _list(event.inputs),
    }


def _list(parts: Sequence[Any]) -> str:
    return to_json(parts).decode()
