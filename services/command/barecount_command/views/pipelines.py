"""Which pipelines exist, what each environment runs, how they came to be; and manifests by digest."""

from __future__ import annotations

from collections.abc import Sequence

from barecount_contracts import Heading, PipelineCreated, PipelineDeleted, PipelinePromoted, PipelineUpdated
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

from .rows import as_json


class PipelinesView:
    NAME = "pipelines"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("control.events",)
    DDL = """
    CREATE TABLE pipelines (
        tenant text NOT NULL,
        name text NOT NULL,
        owner text NOT NULL,
        description text NOT NULL,
        pool text NOT NULL,
        version integer NOT NULL,
        environments jsonb NOT NULL,
        deleted boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (tenant, name)
    );
    CREATE TABLE manifests (
        tenant text NOT NULL,
        digest text NOT NULL,
        body json NOT NULL,
        PRIMARY KEY (tenant, digest)
    );
    CREATE TABLE manifest_versions (
        tenant text NOT NULL,
        name text NOT NULL,
        version integer NOT NULL,
        digest text NOT NULL,
        created_at timestamptz NOT NULL,
        principal text,
        PRIMARY KEY (tenant, name, version)
    );
    CREATE TABLE pipeline_history (
        tenant text NOT NULL,
        name text NOT NULL,
        partition integer NOT NULL,
        "offset" bigint NOT NULL,
        at timestamptz NOT NULL,
        type text NOT NULL,
        version integer NOT NULL,
        digest text,
        environment text,
        from_environment text,
        principal text,
        command_id uuid,
        PRIMARY KEY (tenant, name, partition, "offset")
    );
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        for record in records:
            event = record.envelope
            if not event.type.startswith("Pipeline"):
                continue
            match record.payload:
                case PipelineCreated() | PipelineUpdated() as fact:
                    await _manifest(conn, event, fact)
                    await _history(conn, record, fact.name, fact.version, fact.digest, fact.environment, None)
                case PipelinePromoted() as fact:
                    await conn.execute(
                        "UPDATE pipelines SET environments = environments || jsonb_build_object($3::text, $4::int), updated_at = $5 "
                        "WHERE tenant = $1 AND name = $2",
                        event.tenant,
                        fact.name,
                        fact.to_environment,
                        fact.version,
                        event.time,
                    )
                    await _history(conn, record, fact.name, fact.version, fact.digest, fact.to_environment, fact.from_environment)
                case PipelineDeleted() as fact:
                    await conn.execute(
                        "UPDATE pipelines SET deleted = true, environments = '{}', updated_at = $3 WHERE tenant = $1 AND name = $2",
                        event.tenant,
                        fact.name,
                        event.time,
                    )
                    await _history(conn, record, fact.name, fact.last_version, None, None, None)
                case _:
                    pass


async def _manifest(conn: Connection, event: Heading, fact: PipelineCreated | PipelineUpdated) -> None:
    manifest = fact.manifest
    await conn.execute("INSERT INTO manifests VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", event.tenant, fact.digest, as_json(manifest))
    await conn.execute(
        "INSERT INTO manifest_versions VALUES ($1, $2, $3, $4, $5, $6)",
        event.tenant,
        fact.name,
        fact.version,
        fact.digest,
        event.time,
        event.principal,
    )
    await conn.execute(
        "INSERT INTO pipelines VALUES ($1, $2, $3, $4, $5, $6, $7, false, $8, $8) ON CONFLICT (tenant, name) DO UPDATE SET "
        "owner = excluded.owner, description = excluded.description, pool = excluded.pool, version = excluded.version, "
        "environments = pipelines.environments || excluded.environments, updated_at = excluded.updated_at",
        event.tenant,
        fact.name,
        str(manifest["owner"]),
        str(manifest.get("description", "")),
        str(manifest.get("pool", "default")),
        fact.version,
        as_json({fact.environment: fact.version}),
        event.time,
    )


async def _history(
    conn: Connection, record: Recorded, name: str, version: int, digest: str | None, environment: str | None, source: str | None
) -> None:
    event = record.envelope
    await conn.execute(
        "INSERT INTO pipeline_history VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        event.tenant,
        name,
        record.partition,
        record.offset,
        event.time,
        event.type,
        version,
        digest,
        environment,
        source,
        event.principal,
        event.cause.command_id if event.cause else None,
    )
