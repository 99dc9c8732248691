"""Which workers are there, and how many of their slots are taken? Workers belong to no tenant; whose work they do is not told here."""

from __future__ import annotations

from collections.abc import Sequence

from barecount_contracts import TaskDispatched, TaskFailed, TaskLeaseExpired, TaskSucceeded, WorkerAnnounced
from barecount_eventlog import Recorded
from barecount_readmodel import Connection, Folded, columns_of


class WorkersView:
    NAME = "workers"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("runs.events",)
    # no column `tenant` in either table: every tenant sees how full the pools are
    DDL = """
    CREATE TABLE workers (
        worker_id text PRIMARY KEY, incarnation text NOT NULL, pool text NOT NULL, slots integer NOT NULL, code_version text NOT NULL,
        announced_at timestamptz NOT NULL, lost_at timestamptz
    );
    CREATE TABLE slots (nonce text PRIMARY KEY, worker_id text NOT NULL, incarnation text NOT NULL);
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        slots = Folded("slots", ("nonce",), _SLOTS)
        for record in records:
            match record.payload:
                case payload if type(payload) not in _TOLD:
                    pass
                case WorkerAnnounced() as worker:
                    await conn.execute(
                        "INSERT INTO workers VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (worker_id) DO UPDATE SET "
                        "incarnation = excluded.incarnation, pool = excluded.pool, slots = excluded.slots, "
                        "code_version = excluded.code_version, announced_at = excluded.announced_at, lost_at = NULL",
                        *(worker.worker_id, worker.incarnation, worker.pool, worker.slots, worker.code_version, record.envelope.time),
                    )
                case TaskDispatched(task=task):
                    slots.add((task.nonce,), {"worker_id": task.worker_id, "incarnation": task.incarnation})
                case TaskSucceeded(task=task) | TaskFailed(task=task):
                    slots.drop((task.nonce,))
                case TaskLeaseExpired(task=task):
                    slots.drop((task.nonce,))
                    await conn.execute(
                        "UPDATE workers SET lost_at = $3 WHERE worker_id = $1 AND incarnation = $2",
                        *(task.worker_id, task.incarnation, record.envelope.time),
                    )
                case _:
                    pass
        await slots.write(conn)


# a look at the type before the patterns
_TOLD = frozenset({WorkerAnnounced, TaskDispatched, TaskSucceeded, TaskFailed, TaskLeaseExpired})
_SLOTS = columns_of(WorkersView.DDL, "slots")
