"""Which events of the log concern a thing? The index by which its past is read: offsets and times, nothing of what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

from barecount_eventlog import Recorded

from .rows import insert_rows
from .view import Connection

# of one record: (tenant, kind of thing, its id)
Concerned = Callable[[Recorded], Iterable[tuple[str, str, str]]]

_COLUMNS: Final = ("tenant", "kind", "id", "topic", "partition", "offset", "at")


class EntityEvents:
    """A View. concerned: pure; it must name a record for every thing whose answer the record changes.

    version: rises with every change of `concerned`. `at` is the event's own time: it never goes back within a partition.
    """

    NAME = "entity_events"
    DDL = """
    CREATE TABLE entity_events (
        tenant text NOT NULL,
        kind text NOT NULL,
        id text NOT NULL,
        topic text NOT NULL,
        partition integer NOT NULL,
        "offset" bigint NOT NULL,
        at timestamptz NOT NULL
    );
    """
    INDEXES = """
    ALTER TABLE entity_events ADD PRIMARY KEY (tenant, kind, id, topic, partition, "offset");
    CREATE INDEX entity_events_by_time ON entity_events (topic, partition, at, "offset");
    """

    def __init__(self, topics: Sequence[str], concerned: Concerned, version: int = 1) -> None:
        self.TOPICS, self.VERSION, self._concerned = tuple(topics), version, concerned

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        rows = [
            (tenant, kind, name, record.topic, record.partition, record.offset, record.envelope.time)
            for record in records
            # a record may name a thing twice
            for tenant, kind, name in dict.fromkeys(self._concerned(record))
        ]
        await insert_rows(conn, "entity_events", _COLUMNS, rows)


async def last_at(conn: Connection, topic: str, partition: int, time: datetime) -> int:
    """The offset of the last indexed event up to an instant, of whichever tenant; -1 without one."""
    found = await conn.fetchval(
        'SELECT "offset" FROM entity_events WHERE topic = $1 AND partition = $2 AND at <= $3 ORDER BY at DESC, "offset" DESC LIMIT 1',
        *(topic, partition, time),
    )
    return -1 if found is None else int(found)
