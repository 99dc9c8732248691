"""Which systems may publish signed commands, with which key? Who was revoked stays, with the time."""

from __future__ import annotations

from collections.abc import Sequence

from barecount_contracts import PublisherRegistered, PublisherRevoked
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

from .rows import as_text


class PublishersView:
    NAME = "publishers"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("control.events",)
    DDL = """
    CREATE TABLE publishers (
        tenant text NOT NULL,
        name text NOT NULL,
        public_key text NOT NULL,
        roles text[] NOT NULL,
        description text NOT NULL,
        registered_by text,
        registered_at timestamptz NOT NULL,
        revoked_at timestamptz,
        PRIMARY KEY (tenant, name)
    );
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        for record in records:
            event = record.envelope
            if not event.type.startswith("Publisher"):
                continue
            match record.payload:
                case PublisherRegistered() as fact:
                    await conn.execute(
                        "INSERT INTO publishers VALUES ($1, $2, $3, $4, $5, $6, $7, NULL) ON CONFLICT (tenant, name) DO UPDATE SET "
                        "public_key = excluded.public_key, roles = excluded.roles, description = excluded.description, "
                        "registered_by = excluded.registered_by, registered_at = excluded.registered_at, revoked_at = NULL",
                        event.tenant,
                        fact.name,
                        fact.public_key,
                        list(fact.roles),
                        as_text(fact.description),
                        event.principal,
                        event.time,
                    )
                case PublisherRevoked() as fact:
                    await conn.execute(
                        "UPDATE publishers SET revoked_at = $3 WHERE tenant = $1 AND name = $2", event.tenant, fact.name, event.time
                    )
                case _:
                    pass
