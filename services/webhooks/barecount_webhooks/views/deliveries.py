"""Which event goes to which endpoint, and how that went: the rows from which the relay works.

The log decides, in whatever order its topics are read: an event belongs to an endpoint when the filter that the endpoint had at the
event's time takes it. Whichever of the two is read later makes the row. Results may be read before either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from barecount_contracts import (
    WebhookAttemptFailed,
    WebhookAttemptStarted,
    WebhookAttemptSucceeded,
    WebhookCreated,
    WebhookRedeliveryRequested,
    WebhookUpdated,
)
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

from .changes import CHANGES
from .endpoints import ATTEMPTS, CONTROL

_MATCHES = (
    "c.tenant = f.tenant AND c.at >= f.since AND c.at < f.until AND (cardinality(f.pipelines) = 0 OR c.pipeline = ANY (f.pipelines)) "
    "AND ('*' = ANY (f.event_types) OR c.event_type = ANY (f.event_types) "
    "OR split_part(c.event_type, '.', 1) || '.*' = ANY (f.event_types))"
)
_MATCH = (
    "INSERT INTO deliveries AS held (tenant, endpoint_id, delivery_id, event_id, event_type, ready, state, attempts, due_at, created_at) "
    "SELECT c.tenant, f.endpoint_id, f.endpoint_id || '/' || c.event_id, c.event_id, c.event_type, true, 'pending', 0, c.at, c.at "
    f"FROM changes c JOIN endpoint_filters f ON {_MATCHES} WHERE {{}} ORDER BY 3 "
    "ON CONFLICT (delivery_id) DO UPDATE SET ready = true, created_at = excluded.created_at, "
    # an attempt that was read before its event made the row; a failure has moved it already
    "due_at = greatest(held.due_at, excluded.due_at)"
)


class Deliveries:
    """state: `pending` until it is taken (`succeeded`) or given up (`failed`). ready: the event's data is here."""

    NAME = "deliveries"
    VERSION = 2
    TOPICS: tuple[str, ...] = (CONTROL, CHANGES, ATTEMPTS)
    DDL = """
    CREATE TABLE deliveries (
        tenant text NOT NULL,
        endpoint_id text NOT NULL,
        delivery_id text PRIMARY KEY,
        event_id text NOT NULL,
        event_type text NOT NULL,
        ready boolean NOT NULL,
        state text NOT NULL,
        attempts integer NOT NULL,
        open_attempt integer,
        due_at timestamptz NOT NULL,
        status integer,
        error_type text,
        detail text,
        created_at timestamptz NOT NULL,
        ended_at timestamptz
    );
    CREATE INDEX deliveries_due ON deliveries (endpoint_id, due_at) WHERE state = 'pending' AND ready;
    CREATE INDEX deliveries_open ON deliveries (endpoint_id) WHERE open_attempt IS NOT NULL;
    CREATE INDEX deliveries_waiting ON deliveries (tenant, event_id) WHERE NOT ready;
    CREATE INDEX deliveries_listed ON deliveries (tenant, endpoint_id, created_at DESC, delivery_id DESC);
    CREATE TABLE attempts (
        tenant text NOT NULL,
        delivery_id text NOT NULL,
        attempt integer NOT NULL,
        outcome text NOT NULL,
        started_at timestamptz,
        ended_at timestamptz,
        host text,
        status integer,
        error_type text,
        detail text,
        duration_ms integer,
        retry_at timestamptz,
        PRIMARY KEY (delivery_id, attempt)
    );
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        # a tenant has the same partition in every topic: who writes its deliveries goes one after the other, else two deadlock
        await conn.execute(f"SELECT pg_advisory_xact_lock(hashtextextended('webhooks-deliveries/{records[0].partition:d}', 0))")
        match records[0].topic:
            case topic if topic == CHANGES:
                await _changes(conn, records)
            case topic if topic == CONTROL:
                await _control(conn, records)
            case _:
                for turn in _turns(records):
                    await _started(conn, turn)
                    await _ended(conn, turn)


def _turns(records: Sequence[Recorded]) -> Iterator[list[Recorded]]:
    """Cut where a delivery is attempted again after a result: rows must not depend on how the log falls into batches."""
    turn, ended = list[Recorded](), set[str]()
    for record in records:
        match record.payload:
            case WebhookAttemptStarted(delivery_id=delivery) if delivery in ended:
                yield turn
                turn, ended = [], set()
            case WebhookAttemptSucceeded(delivery_id=delivery) | WebhookAttemptFailed(delivery_id=delivery):
                ended.add(delivery)
            case _:
                pass
        turn.append(record)
    yield turn


async def _changes(conn: Connection, records: Sequence[Recorded]) -> None:
    # shared among events, against endpoints exclusive: neither may be added while the other looks
    await conn.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended('webhooks-match', 0))")
    tenants, events = zip(*((record.cloud_event.tenant, record.cloud_event.id) for record in records), strict=True)
    these = "(c.tenant, c.event_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))"
    await conn.execute(_MATCH.format(these), list(tenants), list(events))
    # asked for again before the event was read here
    await conn.execute(
        "UPDATE deliveries d SET ready = true, event_type = c.event_type FROM changes c "
        f"WHERE NOT d.ready AND d.tenant = c.tenant AND d.event_id = c.event_id AND {these}",
        list(tenants), list(events),
    )  # fmt: skip


async def _control(conn: Connection, records: Sequence[Recorded]) -> None:
    facts = [r for r in records if isinstance(r.payload, WebhookCreated | WebhookUpdated | WebhookRedeliveryRequested)]
    if not facts:
        return
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('webhooks-match', 0))")
    for record in facts:
        match record.payload:
            case WebhookCreated(endpoint_id=endpoint):
                await conn.execute(_MATCH.format("f.endpoint_id = $1"), endpoint)
            case WebhookUpdated(endpoint_id=endpoint):
                # what was matched by the filter before, and came after this one
                await conn.execute(
                    "DELETE FROM deliveries d USING changes c WHERE d.endpoint_id = $1 AND d.attempts = 0 "
                    "AND d.delivery_id = $1 || '/' || c.event_id "
                    f"AND c.tenant = d.tenant AND c.at >= $2 "
                    f"AND NOT EXISTS (SELECT 1 FROM endpoint_filters f WHERE f.endpoint_id = $1 AND {_MATCHES})",
                    endpoint, record.envelope.time,
                )  # fmt: skip
                await conn.execute(_MATCH.format("f.endpoint_id = $1 AND c.at >= $2"), endpoint, record.envelope.time)
            case WebhookRedeliveryRequested() as fact:
                await _again(conn, record, fact)
            case _:
                continue


async def _again(conn: Connection, record: Recorded, fact: WebhookRedeliveryRequested) -> None:
    event = record.envelope
    asked = event.cause.command_id if event.cause and event.cause.command_id else event.id
    found = await conn.fetchval("SELECT event_type FROM changes WHERE tenant = $1 AND event_id = $2", event.tenant, fact.event_id)
    await conn.execute(
        "INSERT INTO deliveries (tenant, endpoint_id, delivery_id, event_id, event_type, ready, state, attempts, due_at, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, 'pending', 0, $7, $7) ON CONFLICT (delivery_id) DO UPDATE SET ready = excluded.ready, "
        "created_at = excluded.created_at, due_at = greatest(deliveries.due_at, excluded.due_at)",
        event.tenant, fact.endpoint_id,
        f"{fact.endpoint_id}/{fact.event_id}/{asked}", fact.event_id, found or "", found is not None, event.time,
    )  # fmt: skip


async def _started(conn: Connection, records: Sequence[Recorded]) -> None:
    found = (
        (
            record.envelope.tenant,
            fact.endpoint_id,
            fact.delivery_id,
            fact.event_id,
            fact.event_type,
            fact.attempt,
            record.timestamp,
            fact.host,
        )
        for record in records
        if isinstance(fact := record.payload, WebhookAttemptStarted)
    )
    # one order of the rows for whoever locks them, and within a delivery the log's
    rows = sorted(found, key=lambda row: row[:3])
    await conn.executemany(
        "INSERT INTO deliveries AS held (tenant, endpoint_id, delivery_id, event_id, event_type, ready, state, attempts, open_attempt, "
        "due_at, created_at) VALUES ($1, $2, $3, $4, $5, false, 'pending', $6, $6, 'epoch', $7) ON CONFLICT (delivery_id) DO UPDATE SET "
        "attempts = excluded.attempts, open_attempt = excluded.open_attempt WHERE held.attempts < excluded.attempts",
        [row[:7] for row in rows],
    )
    await conn.executemany(
        "INSERT INTO attempts (tenant, delivery_id, attempt, outcome, started_at, host) VALUES ($1, $2, $3, 'started', $4, $5) "
        "ON CONFLICT DO NOTHING",
        [(row[0], row[2], row[5], row[6], row[7]) for row in rows],
    )


async def _ended(conn: Connection, records: Sequence[Recorded]) -> None:
    """Every start of the batch is applied already, so a failure counts only while its attempt is the last; a success always does."""
    rows: list[tuple[Any, ...]] = []
    for record in records:
        match record.payload:
            case WebhookAttemptSucceeded() as fact:
                rows.append(
                    (
                        record.envelope.tenant,
                        fact.delivery_id,
                        fact.attempt,
                        "succeeded",
                        record.timestamp,
                        fact.status,
                        None,
                        None,
                        fact.duration_ms,
                        None,
                    )
                )
            case WebhookAttemptFailed() as fact:
                told = (fact.error_type, fact.detail.replace("\x00", "\ufffd"), fact.duration_ms, fact.retry_at)
                rows.append((record.envelope.tenant, fact.delivery_id, fact.attempt, "failed", record.timestamp, fact.status, *told))
            case _:
                continue
    await conn.executemany(
        "INSERT INTO attempts AS held (tenant, delivery_id, attempt, outcome, ended_at, status, error_type, detail, duration_ms, retry_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (delivery_id, attempt) DO UPDATE SET outcome = excluded.outcome, "
        "ended_at = excluded.ended_at, status = excluded.status, error_type = excluded.error_type, detail = excluded.detail, "
        "duration_ms = excluded.duration_ms, retry_at = excluded.retry_at WHERE held.outcome <> 'succeeded'",
        rows,
    )
    await conn.executemany(
        "UPDATE deliveries SET state = CASE WHEN $2 = 'succeeded' THEN 'succeeded' WHEN $3::timestamptz IS NULL THEN 'failed' "
        "ELSE 'pending' END, "
        "due_at = coalesce($3, due_at), open_attempt = NULL, status = $4, error_type = $5, detail = $6, "
        "ended_at = CASE WHEN $2 = 'succeeded' OR $3::timestamptz IS NULL THEN $7::timestamptz END "
        "WHERE delivery_id = $1 AND state <> 'succeeded' AND ($2 = 'succeeded' OR attempts = $8)",
        [(row[1], row[3], row[9], row[5], row[6], row[7], row[4], row[2]) for row in rows],
    )


async def listed(
    conn: Connection, endpoint_id: str, *, state: str | None, event_type: str | None, before: tuple[datetime, str] | None, limit: int
) -> list[dict[str, Any]]:
    """An endpoint's deliveries, the newest first."""
    rows = await conn.fetch(
        "SELECT * FROM deliveries WHERE endpoint_id = $1 AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR event_type = $3) "
        "AND ($4::timestamptz IS NULL OR (created_at, delivery_id) < ($4, $5)) ORDER BY created_at DESC, delivery_id DESC LIMIT $6",
        endpoint_id, state, event_type, *(before or (None, None)), limit,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def delivery(conn: Connection, endpoint_id: str, delivery_id: str) -> dict[str, Any] | None:
    row = await conn.fetchrow("SELECT * FROM deliveries WHERE endpoint_id = $1 AND delivery_id = $2", endpoint_id, delivery_id)
    return None if row is None else dict(row)


async def attempts_of(conn: Connection, delivery_id: str) -> list[dict[str, Any]]:
    rows = await conn.fetch("SELECT * FROM attempts WHERE delivery_id = $1 ORDER BY attempt", delivery_id)
    return [dict(row) for row in rows]


async def counts(conn: Connection, endpoint_id: str) -> dict[str, Any]:
    """How many are pending, given up and taken, and since when the oldest waits."""
    row = await conn.fetchrow(
        "SELECT count(*) FILTER (WHERE state = 'pending') AS pending, count(*) FILTER (WHERE state = 'failed') AS failed, "
        "count(*) FILTER (WHERE state = 'succeeded') AS succeeded, min(created_at) FILTER (WHERE state = 'pending' AND ready) AS oldest "
        "FROM deliveries WHERE endpoint_id = $1",
        endpoint_id,
    )
    assert row is not None
    return dict(row)
