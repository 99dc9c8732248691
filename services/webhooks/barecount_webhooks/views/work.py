"""What is to be done now: due deliveries by endpoint, attempts that were left open, and when something falls due next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from barecount_readmodel import Connection

from .endpoints import LIVE


@dataclass(frozen=True, slots=True)
class Endpoint:
    """As a call needs it. since: from when on failures count towards giving the endpoint up."""

    tenant: str
    endpoint_id: str
    url: str
    key_version: int
    previous_until: datetime | None
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class Due:
    """One delivery to be attempted. attempts: those that were made."""

    endpoint: Endpoint
    delivery_id: str
    event_id: str
    event_type: str
    attempts: int
    at: datetime
    correlation: UUID
    data: str


@dataclass(frozen=True, slots=True)
class Open:
    """An attempt whose result the log does not have."""

    tenant: str
    endpoint_id: str
    delivery_id: str
    event_id: str
    event_type: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Figures:
    """due: deliveries that could be attempted now. oldest: when the oldest event that was not taken happened."""

    due: int
    oldest: datetime | None


async def due(conn: Connection, now: datetime, held: Sequence[str], full: Sequence[str], each: int) -> list[Due]:
    """At most `each` deliveries of every live endpoint that is not `full`, the longest due first; `held` ones are under way."""
    rows = await conn.fetch(
        "SELECT d.*, e.url, e.key_version, e.previous_until, greatest(h.failing_since, e.enabled_at) AS since, h.failing_since, "
        "c.at, c.correlation, c.data "
        "FROM endpoints e LEFT JOIN endpoint_health h USING (tenant, endpoint_id) CROSS JOIN LATERAL ("
        "SELECT * FROM deliveries d WHERE d.endpoint_id = e.endpoint_id AND d.state = 'pending' AND d.ready AND d.due_at <= $1 "
        "AND d.delivery_id <> ALL ($2::text[]) ORDER BY d.due_at, d.delivery_id LIMIT $4) d "
        "JOIN changes c ON c.tenant = d.tenant AND c.event_id = d.event_id "
        f"WHERE {LIVE} AND e.endpoint_id <> ALL ($3::text[])",
        now, list(held), list(full), each,
    )  # fmt: skip
    found: dict[str, Endpoint] = {}
    for row in rows:
        since = row["since"] if row["failing_since"] is not None else None
        found.setdefault(
            row["endpoint_id"],
            Endpoint(row["tenant"], row["endpoint_id"], row["url"], row["key_version"], row["previous_until"], since),
        )
    return [
        Due(
            found[row["endpoint_id"]], row["delivery_id"], row["event_id"], row["event_type"], row["attempts"], row["at"],
            row["correlation"], row["data"],
        )
        for row in rows
    ]  # fmt: skip


async def left_open(conn: Connection) -> list[Open]:
    rows = await conn.fetch(
        "SELECT tenant, endpoint_id, delivery_id, event_id, event_type, open_attempt FROM deliveries WHERE open_attempt IS NOT NULL "
        "AND state = 'pending' ORDER BY delivery_id"
    )
    return [Open(*row.values()) for row in rows]


async def figures(conn: Connection, now: datetime) -> Figures:
    row = await conn.fetchrow(
        "SELECT count(*) FILTER (WHERE d.due_at <= $1) AS due, min(d.created_at) AS oldest "
        "FROM endpoints e LEFT JOIN endpoint_health h USING (tenant, endpoint_id) "
        f"JOIN deliveries d ON d.endpoint_id = e.endpoint_id AND d.state = 'pending' AND d.ready WHERE {LIVE}",
        now,
    )
    assert row is not None
    return Figures(row["due"], row["oldest"])


async def next_due(conn: Connection, now: datetime) -> datetime | None:
    """When the next delivery that waits for its time is due."""
    found: datetime | None = await conn.fetchval(
        "SELECT min(d.at) FROM endpoints e LEFT JOIN endpoint_health h USING (tenant, endpoint_id) CROSS JOIN LATERAL ("
        "SELECT min(due_at) AS at FROM deliveries d WHERE d.endpoint_id = e.endpoint_id AND d.state = 'pending' AND d.ready "
        f"AND d.due_at > $1) d WHERE {LIVE}",
        now,
    )
    return found
