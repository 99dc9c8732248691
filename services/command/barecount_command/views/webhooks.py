"""Which webhook endpoints does a tenant have? How they do, the relay knows."""

from __future__ import annotations

from collections.abc import Sequence

from barecount_contracts import WebhookCreated, WebhookDeleted, WebhookSecretRotated, WebhookUpdated
from barecount_eventlog import Recorded
from barecount_readmodel import Connection


class WebhooksView:
    NAME = "webhooks"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("control.events",)
    DDL = """
    CREATE TABLE webhooks (
        tenant text NOT NULL,
        endpoint_id text NOT NULL,
        url text NOT NULL,
        event_types text[] NOT NULL,
        pipelines text[] NOT NULL,
        description text NOT NULL,
        enabled boolean NOT NULL,
        key_version integer NOT NULL,
        previous_until timestamptz,
        principal text,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (tenant, endpoint_id)
    );
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        for record in records:
            event, fact = record.envelope, record.payload
            match fact:
                case WebhookCreated():
                    await conn.execute(
                        "INSERT INTO webhooks VALUES ($1, $2, $3, $4, $5, $6, true, $7, NULL, $8, $9, $9)",
                        event.tenant, fact.endpoint_id, fact.url, list(fact.event_types), list(fact.pipelines), fact.description,
                        fact.key_version, event.principal, event.time,
                    )  # fmt: skip
                case WebhookUpdated():
                    await conn.execute(
                        "UPDATE webhooks SET url = $3, event_types = $4, pipelines = $5, description = $6, enabled = $7, updated_at = $8 "
                        "WHERE tenant = $1 AND endpoint_id = $2",
                        event.tenant, fact.endpoint_id, fact.url, list(fact.event_types), list(fact.pipelines), fact.description,
                        fact.enabled, event.time,
                    )  # fmt: skip
                case WebhookSecretRotated():
                    await conn.execute(
                        "UPDATE webhooks SET key_version = $3, previous_until = $4, updated_at = $5 WHERE tenant = $1 AND endpoint_id = $2",
                        event.tenant, fact.endpoint_id, fact.key_version, fact.previous_until, event.time,
                    )  # fmt: skip
                case WebhookDeleted():
                    await conn.execute("DELETE FROM webhooks WHERE tenant = $1 AND endpoint_id = $2", event.tenant, fact.endpoint_id)
                case _:
                    continue
