"""Handlers' snapshots in PostgreSQL: the newest of every partition and form."""

from __future__ import annotations

from barecount_eventlog import Snapshot

from .database import Database
from .schema import quoted

_DDL = """
CREATE TABLE IF NOT EXISTS {schema}.snapshots (
    service text NOT NULL,
    partition integer NOT NULL,
    schema text NOT NULL,
    events_next bigint NOT NULL,
    inbox_next bigint NOT NULL,
    blob bytea NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (service, partition, schema)
)
"""


class PostgresSnapshots:
    """A SnapshotStore. The table stands in schema `<service>_state`, beside the view sets and outliving them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._schema = quoted(f"{database.service}_state")
        self._ready = False

    async def load(self, service: str, partition: int, schema: str) -> Snapshot | None:
        await self._prepare()
        row = await self._database.pool.fetchrow(
            f"SELECT events_next, inbox_next, blob FROM {self._schema}.snapshots WHERE service = $1 AND partition = $2 AND schema = $3",
            service,
            partition,
            schema,
        )
        return None if row is None else Snapshot(schema, row["events_next"], row["inbox_next"], row["blob"])

    async def save(self, service: str, partition: int, snapshot: Snapshot) -> None:
        """Keeps the newer one: a zombie's late snapshot is true but old."""
        await self._prepare()
        await self._database.pool.execute(
            f"INSERT INTO {self._schema}.snapshots AS kept (service, partition, schema, events_next, inbox_next, blob) "
            f"VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (service, partition, schema) DO UPDATE SET events_next = excluded.events_next, "
            f"inbox_next = excluded.inbox_next, blob = excluded.blob, written_at = now() WHERE kept.events_next < excluded.events_next",
            service,
            partition,
            snapshot.schema,
            snapshot.events_next,
            snapshot.inbox_next,
            snapshot.blob,
        )

    async def _prepare(self) -> None:
        if self._ready:
            return
        async with self._database.pool.acquire() as conn, conn.transaction():
            await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", self._schema)
            await conn.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")
            await conn.execute(_DDL.format(schema=self._schema))
        self._ready = True
