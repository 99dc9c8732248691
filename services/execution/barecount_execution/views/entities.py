"""Which events made a run what it is, and which slots and workers stood beside it? Asked by `as_of` alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from aiokafka import TopicPartition
from barecount_contracts import (
    ReplayApproved,
    ReportIgnored,
    RunCancelled,
    RunFailed,
    RunRequested,
    RunSucceeded,
    TaskDispatched,
    TaskFailed,
    TaskLeaseExpired,
    TaskSucceeded,
    WorkerAnnounced,
)
from barecount_eventlog import Recorded
from barecount_readmodel import Connection, EntityEvents, insert_rows

RUN, WORKER = "run", "worker"
_ENDS: Final = (RunSucceeded, RunFailed, RunCancelled)
EVENTS: Final = "runs.events"


def entities() -> EntityEvents:
    return EntityEvents(("control.events", EVENTS), _concerned)


def _concerned(record: Recorded) -> Iterator[tuple[str, str, str]]:
    tenant, payload = record.envelope.tenant, record.payload
    # whatever execution says about a run, and what asks for one: told by exact types, because most records are of none of these
    if type(payload) is WorkerAnnounced:
        yield tenant, WORKER, payload.worker_id
    elif type(payload) is RunRequested:
        yield tenant, RUN, payload.run_id
    elif type(payload) is ReplayApproved:
        yield tenant, RUN, payload.new_run_id
    elif record.topic == EVENTS and type(payload) is not ReportIgnored and isinstance(named := getattr(payload, "run_id", None), str):
        yield tenant, RUN, named


class StandingView:
    """Which records say how full the pools are, at each offset? A record counts from its own offset until another one overtakes it.

    No tenant: that a slot is taken, every tenant sees.
    """

    NAME = "standing"
    VERSION = 1
    TOPICS: tuple[str, ...] = (EVENTS,)
    DDL = """
    CREATE TABLE standing (partition integer NOT NULL, what text NOT NULL, "offset" bigint NOT NULL, until bigint,
        PRIMARY KEY (partition, what, "offset"));
    """
    INDEXES = 'CREATE INDEX standing_at ON standing USING gist (int8range("offset", until))'

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        begun: dict[str, list[int]] = {}
        rows: list[tuple[int, str, int, int | None]] = []
        # what began in a batch before ends where it first ends in this one
        ended: dict[str, int] = {}
        for record in records:
            if type(record.payload) not in _STANDING:
                continue
            begins, ends = _standing(record)
            for what in ends:
                ended.setdefault(what, record.offset)
                rows += [(record.partition, what, offset, record.offset) for offset in begun.pop(what, ())]
            for what in begins:
                begun.setdefault(what, []).append(record.offset)
        partition = records[0].partition
        rows += [(partition, what, offset, None) for what, offsets in begun.items() for offset in offsets]
        # before the batch's own rows, so that one that began after an end in the same batch stays
        if ended:
            await conn.execute(
                "UPDATE standing AS held SET until = said.until FROM unnest($2::text[], $3::bigint[]) AS said (what, until) "
                "WHERE held.partition = $1 AND held.what = said.what AND held.until IS NULL",
                *(partition, list(ended), list(ended.values())),
            )
        await insert_rows(conn, "standing", ("partition", "what", "offset", "until"), rows)


# a look at the type before the patterns
_STANDING: Final = frozenset({WorkerAnnounced, TaskDispatched, TaskSucceeded, TaskFailed, TaskLeaseExpired})


def _standing(record: Recorded) -> tuple[list[str], list[str]]:
    """What a record begins, and what it ends."""
    match record.payload:
        case WorkerAnnounced(worker_id=worker_id, slots=slots):
            # one without slots has left
            return [f"worker {worker_id}"] if slots else [], [f"worker {worker_id}"]
        case TaskDispatched(task=task):
            return [f"slot {task.nonce}"], []
        case TaskSucceeded(task=task) | TaskFailed(task=task):
            return [], [f"slot {task.nonce}"]
        case TaskLeaseExpired(task=task):
            # and the worker is lost until it announces itself
            return [f"worker {task.worker_id}"], [f"slot {task.nonce}"]
        case _:
            return [], []


async def standing_at(
    conn: Connection, cut: Mapping[TopicPartition, int], run: Sequence[Recorded]
) -> Collection[tuple[TopicPartition, int]]:
    """The records of workers and taken slots that counted at a cut; none for a run that was over, because that waits for nothing."""
    if any(isinstance(record.payload, _ENDS) for record in run):
        return []
    found = []
    for where, last in cut.items():
        if where.topic == EVENTS:
            rows = await conn.fetch(
                'SELECT "offset" FROM standing WHERE partition = $1 AND int8range("offset", until) @> $2::bigint', where.partition, last
            )
            found += [(where, int(row["offset"])) for row in rows]
    return found
