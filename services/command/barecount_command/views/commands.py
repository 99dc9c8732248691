"""What became of a command? Its admission by inbox position, and what followed in the same chain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from barecount_contracts import PLATFORM
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

from .recent import Recent
from .rows import as_json, as_text, without_bodies

FOLLOWS = frozenset(
    {"ReplayValidated", "ReplayRefused", "ReplayApproved", "ApprovalRequested", "ApprovalRejected"}
    | {"RunQueued", "RunStarted", "RunCancelling", "RunSucceeded", "RunFailed", "RunCancelled", "RunRefused"}
)
"""Events that tell a caller how it goes on."""


class CommandsView:
    NAME = "commands"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("control.events", "runs.events")
    DDL = """
    CREATE TABLE outcomes (
        inbox_partition integer NOT NULL,
        inbox_offset bigint NOT NULL,
        tenant text NOT NULL,
        command_id uuid,
        command_type text,
        principal text,
        correlation uuid NOT NULL,
        decided_at timestamptz NOT NULL,
        type text NOT NULL,
        data jsonb NOT NULL,
        PRIMARY KEY (inbox_partition, inbox_offset)
    );
    CREATE INDEX outcomes_by_command ON outcomes (command_id, inbox_partition, inbox_offset);
    CREATE TABLE followed (
        topic text NOT NULL,
        partition integer NOT NULL,
        "offset" bigint NOT NULL,
        tenant text NOT NULL,
        correlation uuid NOT NULL,
        at timestamptz NOT NULL,
        type text NOT NULL,
        principal text,
        data jsonb NOT NULL,
        PRIMARY KEY (topic, partition, "offset")
    );
    CREATE INDEX followed_by_chain ON followed (correlation, at);
    """

    def __init__(self, recent: Recent | None = None) -> None:
        """recent: is told every outcome that is written here."""
        self._recent = recent

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        if records[0].topic == "control.events":
            outcomes = [_outcome(record) for record in records if record.envelope.cause and record.envelope.cause.index == 0]
            await conn.executemany("INSERT INTO outcomes VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING", outcomes)
            if self._recent is not None:
                for partition, offset, tenant, *_, type_, data in outcomes:
                    self._recent.add((partition, offset), tenant, type_, data)
        await conn.executemany(
            "INSERT INTO followed VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
            [_followed(record) for record in records if record.envelope.type in FOLLOWS],
        )


def _outcome(record: Recorded) -> tuple[int, int, str, UUID | None, str | None, str | None, UUID, datetime, str, str]:
    event = record.envelope
    cause = event.cause
    assert cause is not None
    return (
        cause.partition,
        cause.offset,
        as_text(event.tenant) or PLATFORM,
        cause.command_id,
        cause.command_type and as_text(cause.command_type),
        event.principal and as_text(event.principal),
        event.correlation,
        event.time,
        event.type,
        as_json(without_bodies(record.payload.to_data())),
    )


def _followed(record: Recorded) -> tuple[object, ...]:
    event = record.envelope
    data = {key: value for key, value in record.payload.to_data().items() if key != "bodies"}
    where = (record.topic, record.partition, record.offset)
    return (*where, event.tenant, event.correlation, event.time, event.type, event.principal, as_json(data))
