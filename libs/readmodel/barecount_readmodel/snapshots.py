"""Handlers' snapshots in PostgreSQL: the newest of every partition and form."""

from __future__ import annotations

from barecount_eventlog import Snapshot

from .database import Database
from .origin import mark_in
from .schema import ORIGIN, add_columns, at_once, quoted
from .view import Connection

_DDL = """
CREATE TABLE IF NOT EXISTS {schema}.snapshots (
    service text NOT NULL,
    partition integer NOT NULL,
    schema text NOT NULL,
    events_next bigint NOT NULL,
    inbox_next bigint NOT NULL,
    blob bytea NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    cluster text,
    last_offset bigint,
    last_digest bytea,
    PRIMARY KEY (service, partition, schema)
)
"""


def state_schema(service: str) -> str:
    return f"{service}_state"


async def forget(conn: Connection, service: str) -> None:
    """Drops the snapshots of a service, if it keeps any: the next restore replays the log."""
    table = f"{quoted(state_schema(service))}.snapshots"
    if await conn.fetchval("SELECT to_regclass($1)", table):
        await conn.execute(f"DELETE FROM {table}")


class PostgresSnapshots:
    """A SnapshotStore. The table stands in schema `<service>_state`, beside the view sets and outliving them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._name = state_schema(database.service)
        self._schema = quoted(self._name)
        self._ready = False

    async def load(self, service: str, partition: int, schema: str) -> Snapshot | None:
        await self._prepare()
        row = await self._database.pool.fetchrow(
            f"SELECT events_next, inbox_next, blob, cluster, last_offset, last_digest FROM {self._schema}.snapshots "
            "WHERE service = $1 AND partition = $2 AND schema = $3",
            service,
            partition,
            schema,
        )
        return None if row is None else Snapshot(schema, row["events_next"], row["inbox_next"], row["blob"], row["cluster"], mark_in(row))

    async def save(self, service: str, partition: int, snapshot: Snapshot) -> None:
        """Keeps the newer one: a zombie's late snapshot is true but old."""
        await self._prepare()
        await self._database.pool.execute(
            f"INSERT INTO {self._schema}.snapshots AS kept "
            "(service, partition, schema, events_next, inbox_next, blob, cluster, last_offset, last_digest) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (service, partition, schema) DO UPDATE SET "
            "events_next = excluded.events_next, inbox_next = excluded.inbox_next, blob = excluded.blob, cluster = excluded.cluster, "
            "last_offset = excluded.last_offset, last_digest = excluded.last_digest, written_at = now() "
            "WHERE kept.events_next < excluded.events_next",
            service,
            partition,
            snapshot.schema,
            snapshot.events_next,
            snapshot.inbox_next,
            snapshot.blob,
            snapshot.cluster,
            *((snapshot.mark.offset, snapshot.mark.digest) if snapshot.mark is not None else (None, None)),
        )

    async def _prepare(self) -> None:
        if self._ready:
            return
        async with self._database.pool.acquire() as conn:
            if not await conn.fetchval("SELECT to_regclass($1)", f"{self._schema}.snapshots"):
                await at_once(conn, self._schema, f"CREATE SCHEMA IF NOT EXISTS {self._schema}; {_DDL.format(schema=self._schema)}")
            await add_columns(conn, self._name, "snapshots", ORIGIN)
        self._ready = True
