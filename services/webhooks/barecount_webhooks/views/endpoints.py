"""Where events go, which ones at which time, and how the endpoint does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from barecount_contracts import (
    WebhookAttemptFailed,
    WebhookAttemptSucceeded,
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookSecretRotated,
    WebhookUpdated,
)
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

CONTROL, ATTEMPTS = "control.events", "webhooks.attempts"

# who is called: not deleted, not switched off by its tenant, not given up by the relay since it was last enabled
LIVE = "NOT e.deleted AND e.enabled AND (h.disabled_at IS NULL OR h.disabled_at < e.enabled_at)"


class Endpoints:
    """Times decide between control.events and webhooks.attempts: those of the records. Clocks that differ settle with the next attempt."""

    NAME = "endpoints"
    VERSION = 1
    TOPICS: tuple[str, ...] = (CONTROL, ATTEMPTS)
    DDL = """
    CREATE TABLE endpoints (
        tenant text NOT NULL,
        endpoint_id text PRIMARY KEY,
        url text NOT NULL,
        enabled boolean NOT NULL,
        enabled_at timestamptz NOT NULL,
        deleted boolean NOT NULL DEFAULT false,
        key_version integer NOT NULL,
        previous_until timestamptz,
        created_at timestamptz NOT NULL
    );
    CREATE TABLE endpoint_filters (
        tenant text NOT NULL,
        endpoint_id text NOT NULL,
        since timestamptz NOT NULL,
        until timestamptz NOT NULL DEFAULT 'infinity',
        event_types text[] NOT NULL,
        pipelines text[] NOT NULL
    );
    CREATE INDEX endpoint_filters_of ON endpoint_filters (tenant, endpoint_id, since);
    CREATE TABLE endpoint_health (
        tenant text NOT NULL,
        endpoint_id text PRIMARY KEY,
        last_success_at timestamptz,
        last_failure_at timestamptz,
        failing_since timestamptz,
        disabled_at timestamptz,
        disabled_reason text,
        disabled_detail text
    );
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        if records[0].topic == ATTEMPTS:
            return await _health(conn, records)
        for record in records:
            await _endpoint(conn, record)


async def _endpoint(conn: Connection, record: Recorded) -> None:
    event, fact = record.envelope, record.payload
    match fact:
        case WebhookCreated():
            await conn.execute(
                "INSERT INTO endpoints VALUES ($1, $2, $3, true, $4, false, $5, NULL, $6) ON CONFLICT DO NOTHING",
                event.tenant, fact.endpoint_id, fact.url, record.timestamp, fact.key_version, event.time,
            )  # fmt: skip
            await _filter(conn, event.tenant, fact, event.time)
        case WebhookUpdated():
            await conn.execute(
                "UPDATE endpoints SET url = $2, enabled = $3, enabled_at = CASE WHEN $3 THEN $4 ELSE enabled_at END WHERE endpoint_id = $1",
                fact.endpoint_id, fact.url, fact.enabled, record.timestamp,
            )  # fmt: skip
            await conn.execute(
                "UPDATE endpoint_filters SET until = $2 WHERE endpoint_id = $1 AND until = 'infinity'", fact.endpoint_id, event.time
            )
            await _filter(conn, event.tenant, fact, event.time)
        case WebhookDeleted():
            await conn.execute("UPDATE endpoints SET deleted = true WHERE endpoint_id = $1", fact.endpoint_id)
        case WebhookSecretRotated():
            await conn.execute(
                "UPDATE endpoints SET key_version = $2, previous_until = $3 WHERE endpoint_id = $1",
                fact.endpoint_id, fact.key_version, fact.previous_until,
            )  # fmt: skip
        case _:
            return


async def _filter(conn: Connection, tenant: str, fact: WebhookCreated | WebhookUpdated, since: datetime) -> None:
    await conn.execute(
        "INSERT INTO endpoint_filters (tenant, endpoint_id, since, event_types, pipelines) VALUES ($1, $2, $3, $4, $5)",
        tenant, fact.endpoint_id, since, list(fact.event_types), list(fact.pipelines),
    )  # fmt: skip


@dataclass(slots=True)
class _Seen:
    """A batch's results of one endpoint, folded: one row is written once."""

    tenant: str
    success: datetime | None = None
    failure: datetime | None = None
    failing_since: datetime | None = None
    disabled: tuple[datetime, str, str] | None = None


async def _health(conn: Connection, records: Sequence[Recorded]) -> None:
    seen: dict[str, _Seen] = {}
    for record in records:
        fact, at = record.payload, record.timestamp
        if not isinstance(fact, WebhookAttemptSucceeded | WebhookAttemptFailed | WebhookDisabled):
            continue
        row = seen.setdefault(fact.endpoint_id, _Seen(record.envelope.tenant))
        match fact:
            case WebhookAttemptSucceeded():
                row.success, row.failing_since = at, None
            case WebhookAttemptFailed():
                row.failure, row.failing_since = at, row.failing_since or at
            case WebhookDisabled():
                row.disabled = (at, fact.reason, fact.detail.replace("\x00", "\ufffd"))
    await conn.executemany(
        "INSERT INTO endpoint_health AS held VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (endpoint_id) DO UPDATE SET "
        "last_success_at = coalesce(excluded.last_success_at, held.last_success_at), "
        "last_failure_at = coalesce(excluded.last_failure_at, held.last_failure_at), "
        "failing_since = CASE WHEN excluded.last_success_at IS NOT NULL THEN excluded.failing_since "
        "ELSE coalesce(held.failing_since, excluded.failing_since) END, "
        "disabled_at = coalesce(excluded.disabled_at, held.disabled_at), "
        "disabled_reason = coalesce(excluded.disabled_reason, held.disabled_reason), "
        "disabled_detail = coalesce(excluded.disabled_detail, held.disabled_detail)",
        [
            (row.tenant, endpoint, row.success, row.failure, row.failing_since, *(row.disabled or (None, None, None)))
            for endpoint, row in sorted(seen.items())
        ],
    )


async def endpoint(conn: Connection, endpoint_id: str) -> dict[str, Any] | None:
    """One endpoint of the tenant, deleted ones too: their history stays."""
    row = await conn.fetchrow(
        f"SELECT e.*, h.last_success_at, h.last_failure_at, h.failing_since, h.disabled_at, h.disabled_reason, "
        f"h.disabled_detail, {LIVE} AS live "
        "FROM endpoints e LEFT JOIN endpoint_health h USING (tenant, endpoint_id) WHERE e.endpoint_id = $1",
        endpoint_id,
    )
    return None if row is None else dict(row)
