"""What was emitted about a run: its OpenLineage events, whole and in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from barecount_contracts import LineageEmitted
from barecount_eventlog import Recorded
from barecount_readmodel import Connection


class Events:
    NAME = "events"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("lineage.events",)
    DDL = """
    CREATE TABLE lineage_events (
        tenant text NOT NULL,
        run_id text NOT NULL,
        partition integer NOT NULL,
        "offset" bigint NOT NULL,
        event text NOT NULL,
        PRIMARY KEY (partition, "offset")
    );
    CREATE INDEX lineage_events_run ON lineage_events (tenant, run_id, "offset");
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        rows = [
            (record.envelope.tenant, clean(payload.run_id), record.partition, record.offset, json.dumps(payload.event))
            for record in records
            if isinstance(payload := record.payload, LineageEmitted)
        ]
        await conn.executemany("INSERT INTO lineage_events VALUES ($1, $2, $3, $4, $5)", rows)


async def events_of(conn: Connection, run_id: str) -> list[dict[str, Any]]:
    """A run's events; a run's are all in one partition, so their offsets are their order."""
    rows = await conn.fetch('SELECT event FROM lineage_events WHERE run_id = $1 ORDER BY "offset"', run_id)
    return [json.loads(row["event"]) for row in rows]


def clean(text: str) -> str:
    """PostgreSQL text holds no NUL."""
    return text.replace("\x00", "\ufffd")
