"""What do a plan's digests stand for? Manifests and contracts, as the control log has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from barecount_contracts import Bodies, ContractBody, ContractRegistered, PipelineCreated, PipelineUpdated, PlanSummary
from barecount_eventlog import Recorded
from barecount_readmodel import Connection


class BodiesView:
    NAME = "bodies"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("control.events",)
    # text, not jsonb: a digest is over what was written
    DDL = """
    CREATE TABLE manifests (tenant text NOT NULL, digest text NOT NULL, document text NOT NULL, PRIMARY KEY (tenant, digest));
    CREATE TABLE contracts (
        tenant text NOT NULL, name text NOT NULL, version text NOT NULL, digest text NOT NULL, document text NOT NULL,
        PRIMARY KEY (tenant, name, version)
    );
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        for record in records:
            tenant = record.envelope.tenant
            match record.payload:
                case PipelineCreated(digest=digest, manifest=document) | PipelineUpdated(digest=digest, manifest=document):
                    await conn.execute(
                        "INSERT INTO manifests VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", tenant, digest, json.dumps(document)
                    )
                case ContractRegistered() as event:
                    await conn.execute(
                        "INSERT INTO contracts VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                        tenant,
                        event.name,
                        event.version,
                        event.digest,
                        json.dumps(event.document),
                    )
                case _:
                    pass


async def manifest_of(conn: Connection, digest: str) -> dict[str, Any] | None:
    """A manifest of the query's tenant."""
    text = await conn.fetchval("SELECT document FROM manifests WHERE digest = $1", digest)
    return None if text is None else dict(json.loads(text))


async def bodies_of(conn: Connection, plan: PlanSummary) -> tuple[Bodies, bool]:
    """The bodies of a plan, and whether all are there. The handler refuses a run that lacks something, in the log."""
    manifest = await manifest_of(conn, plan.manifest_digest)
    if manifest is None:
        return Bodies(manifest={}, contracts=()), False
    named = {
        (str(part["contract"]["name"]), str(part["contract"]["version"])): None
        for part in (*manifest.get("sources", ()), *manifest.get("sinks", ()))
    }
    found = []
    for name, version in named:
        row = await conn.fetchrow("SELECT digest, document FROM contracts WHERE name = $1 AND version = $2", name, version)
        if row is not None:
            found.append(ContractBody(name=name, version=version, digest=row["digest"], document=json.loads(row["document"])))
    return Bodies(manifest=manifest, contracts=tuple(found)), len(found) == len(named)
