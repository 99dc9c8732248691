"""Which manifest and contract versions exist: where a run's plan came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from barecount_contracts import ContractRegistered, PipelineCreated, PipelineUpdated
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

from .events import clean


class Manifests:
    NAME = "manifests"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("control.events",)
    DDL = """
    CREATE TABLE lineage_manifests (
        tenant text NOT NULL,
        pipeline text NOT NULL,
        version integer NOT NULL,
        digest text NOT NULL,
        principal text,
        at timestamptz NOT NULL,
        PRIMARY KEY (tenant, pipeline, version)
    );
    CREATE TABLE lineage_contracts (
        tenant text NOT NULL,
        name text NOT NULL,
        version text NOT NULL,
        digest text NOT NULL,
        principal text,
        at timestamptz NOT NULL,
        PRIMARY KEY (tenant, name, version)
    );
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        for record in records:
            event, payload = record.envelope, record.payload
            match payload:
                case PipelineCreated() | PipelineUpdated():
                    row: tuple[Any, ...] = (event.tenant, clean(payload.name), payload.version, payload.digest, event.principal, event.time)
                    await conn.execute("INSERT INTO lineage_manifests VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING", *row)
                case ContractRegistered():
                    row = (event.tenant, clean(payload.name), clean(payload.version), payload.digest, event.principal, event.time)
                    await conn.execute("INSERT INTO lineage_contracts VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING", *row)
                case _:
                    continue


async def manifest(conn: Connection, pipeline: str, version: int) -> dict[str, Any]:
    """A manifest version as its pipeline's history has it; empty when it has none (another tenant's base, or not projected yet)."""
    row = await conn.fetchrow("SELECT digest, principal, at FROM lineage_manifests WHERE pipeline = $1 AND version = $2", pipeline, version)
    return {} if row is None else {"digest": row["digest"], "by": row["principal"], "at": row["at"].isoformat()}


async def contract(conn: Connection, name: str, version: str) -> dict[str, Any]:
    row = await conn.fetchrow("SELECT digest, principal, at FROM lineage_contracts WHERE name = $1 AND version = $2", name, version)
    return {} if row is None else {"digest": row["digest"], "by": row["principal"], "at": row["at"].isoformat()}
