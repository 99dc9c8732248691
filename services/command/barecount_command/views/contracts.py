"""Which contracts and schemas are registered, with their texts."""

from __future__ import annotations

from collections.abc import Sequence

from barecount_contracts import ContractRegistered, SchemaRegistered
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

from .rows import as_json


class ContractsView:
    NAME = "contracts"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("control.events",)
    DDL = """
    CREATE TABLE contracts (
        tenant text NOT NULL,
        name text NOT NULL,
        version text NOT NULL,
        digest text NOT NULL,
        document json NOT NULL,
        subjects jsonb NOT NULL,
        registered_at timestamptz NOT NULL,
        principal text,
        PRIMARY KEY (tenant, name, version)
    );
    CREATE TABLE schemas (
        tenant text NOT NULL,
        subject text NOT NULL,
        version integer NOT NULL,
        id integer NOT NULL,
        digest text NOT NULL,
        text text NOT NULL,
        registered_at timestamptz NOT NULL,
        PRIMARY KEY (tenant, subject, version)
    );
    CREATE INDEX schemas_by_id ON schemas (tenant, id);
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        for record in records:
            event = record.envelope
            if event.type == ContractRegistered.TYPE:
                contract = record.payload
                assert isinstance(contract, ContractRegistered)
                await conn.execute(
                    "INSERT INTO contracts VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                    event.tenant,
                    contract.name,
                    contract.version,
                    contract.digest,
                    as_json(contract.document),
                    as_json(contract.subjects),
                    event.time,
                    event.principal,
                )
            elif event.type == SchemaRegistered.TYPE:
                schema = record.payload
                assert isinstance(schema, SchemaRegistered)
                await conn.execute(
                    "INSERT INTO schemas VALUES ($1, $2, $3, $4, $5, $6, $7)",
                    event.tenant,
                    schema.subject,
                    schema.schema_version,
                    schema.schema_id,
                    schema.digest,
                    schema.schema_text,
                    event.time,
                )
