"""What happened, as receivers are told: the data of each event of state.changes, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence

from barecount_contracts import StateChanged
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

CHANGES = "state.changes"


class Changes:
    NAME = "changes"
    VERSION = 1
    TOPICS: tuple[str, ...] = (CHANGES,)
    # data is text: a receiver's signature covers its bytes, and jsonb would order them anew
    DDL = """
    CREATE TABLE changes (
        tenant text NOT NULL,
        event_id text NOT NULL,
        event_type text NOT NULL,
        at timestamptz NOT NULL,
        pipeline text,
        correlation uuid NOT NULL,
        partition integer NOT NULL,
        "offset" bigint NOT NULL,
        data text NOT NULL,
        PRIMARY KEY (tenant, event_id)
    );
    CREATE INDEX changes_by_time ON changes (tenant, at);
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        await conn.executemany(
            "INSERT INTO changes VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING", [_row(record) for record in records]
        )


def _row(record: Recorded) -> tuple[object, ...]:
    event, change = record.cloud_event, record.payload
    assert isinstance(change, StateChanged)
    return (
        clean(event.tenant),
        clean(event.id),
        clean(event.type),
        event.time,
        change.pipeline and clean(change.pipeline),
        change.correlation,
        record.partition,
        record.offset,
        # JSON escapes U+0000; what is not escaped was no JSON and is not here
        record.value.decode(),
    )


def clean(text: str) -> str:
    """PostgreSQL text holds no NUL."""
    return text.replace("\x00", "\ufffd")
