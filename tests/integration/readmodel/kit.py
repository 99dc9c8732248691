"""A view of the counter's events, and a database whose login is as restricted as a service's."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

from tests.integration.eventlog.counter import NumberAdded
from tests.support.servers import Postgres


class NumbersView:
    """Every number once, and a running count that shows a batch applied twice."""

    NAME = "numbers"
    VERSION = 1
    DDL = """
    CREATE TABLE numbers (event_id uuid PRIMARY KEY, tenant text NOT NULL, inbox_offset bigint NOT NULL, number integer NOT NULL);
    CREATE TABLE tallies (tenant text PRIMARY KEY, events bigint NOT NULL, total bigint NOT NULL);
    CREATE TABLE weather (outlook text NOT NULL);
    """

    def __init__(self, *topics: str) -> None:
        self.TOPICS = topics

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        rows = []
        for record in records:
            match record.payload:
                case NumberAdded() as added if record.envelope.cause is not None:
                    rows.append((record.envelope.id, record.envelope.tenant, record.envelope.cause.offset, added.number))
                case _:
                    pass
        await conn.executemany("INSERT INTO numbers VALUES ($1, $2, $3, $4)", rows)
        await conn.executemany(
            "INSERT INTO tallies VALUES ($1, 1, $2) ON CONFLICT (tenant) DO UPDATE "
            "SET events = tallies.events + 1, total = tallies.total + excluded.total",
            [(tenant, number) for _, tenant, _, number in rows],
        )


async def service_database(postgres: Postgres, *, service: str, query_role: bool = True) -> str:
    """The address of an empty database owned by a fresh login without CREATEROLE, as the stack makes them."""
    admin_url = await postgres.create_database("readmodel")
    name = urlsplit(admin_url).path.removeprefix("/")
    login, word = f"{service}_login", secrets.token_hex(8)
    conn = await asyncpg.connect(admin_url)
    try:
        await conn.execute(f"CREATE ROLE {login} LOGIN PASSWORD '{word}'; ALTER DATABASE \"{name}\" OWNER TO {login}")
        if query_role:
            await conn.execute(f"CREATE ROLE {service}_query NOLOGIN; GRANT {service}_query TO {login}")
    finally:
        await conn.close()
    parts = urlsplit(admin_url)
    return urlunsplit(parts._replace(netloc=f"{login}:{word}@{parts.hostname}:{parts.port}"))


def fresh_service() -> str:
    """A service name of its own: roles are the server's, not the database's."""
    return f"svc{secrets.token_hex(4)}"


class MetView(NumbersView):
    """Numbers; another process of a rebuild leaves its pid in `folder`, and holds its rows' locks there until a file `go` stands."""

    def __init__(self, folder: str, *topics: str) -> None:
        super().__init__(*topics)
        self.folder = folder

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        await super().apply(conn, records)
        if multiprocessing.parent_process() is None:
            return
        # what was said is done with this
        await conn.fetchval("SELECT 1")
        (Path(self.folder) / f"{os.getpid()}.pid").touch()
        while not (Path(self.folder) / "go").exists():  # noqa: ASYNC110 another process makes it
            await asyncio.sleep(0.01)


class FailingView(NumbersView):
    """Raises in another process of a rebuild alone."""

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        if multiprocessing.parent_process() is not None:
            await conn.fetchval("SELECT 1/0")
        await super().apply(conn, records)


class DeadlockedView(NumbersView):
    """Numbers; the first `times` batches end as one of two transactions that wait for each other does, after rows were written."""

    def __init__(self, times: int, *topics: str) -> None:
        super().__init__(*topics)
        self.left = times

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        await super().apply(conn, records)
        if self.left:
            self.left -= 1
            await conn.fetch("SELECT 1")
            await conn.execute("DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = 'deadlock_detected'; END $$")
