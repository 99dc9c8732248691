"""The moment of a rebuild: one process at a time, the live projector held still, two schemas change names in one transaction.

Why nothing goes wrong around it (all run by tests/integration/readmodel/test_rebuild.py):
- Names are looked up anew: a rename of a schema makes PostgreSQL drop every cached plan, and who waited for a lock looks again.
- EXCLUSIVE on projection_positions lets the batch under way end and holds the next one before its first statement: a row lock would
  let it move the old schema's position and write the new schema's rows.
- A query reads in one snapshot. One that is older than the last rebuilt row would miss it after the swap: those end first.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from aiokafka import TopicPartition

from .errors import RebuildUnderWay, SwapBlocked
from .schema import literal, quoted
from .view import Connection

LOCK_SECONDS: Final = 5
# read-your-writes waits 2 s before it says "come again": the hold should end well before
HELD_SECONDS: Final = 15.0
_LOOK_AGAIN_SECONDS: Final = 0.02


def next_of(schema: str) -> str:
    return f"{schema}_next"


def previous_of(schema: str) -> str:
    return f"{schema}_previous"


@asynccontextmanager
async def alone(url: str, service: str) -> AsyncIterator[Connection]:
    """A connection that holds the right to rebuild this service; PostgreSQL takes it back when the process dies.

    Raises: RebuildUnderWay naming the other's process id and since when.
    """
    settings = {"application_name": f"rebuild of {service} by pid {os.getpid()}", "lock_timeout": f"{LOCK_SECONDS}s"}
    conn = await asyncpg.connect(url, server_settings=settings)
    try:
        if not await conn.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", _right(service)):
            other = await conn.fetchrow(
                "SELECT a.application_name, a.backend_start FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
                "AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended($1, 0)",
                _right(service),
            )
            raise RebuildUnderWay(
                service, other["application_name"] if other else "another process", other["backend_start"] if other else None
            )
        await _end_what_was_left(conn, service)
        yield conn
    finally:
        try:
            await conn.close(timeout=5)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            conn.terminate()


async def _end_what_was_left(conn: Connection, service: str) -> None:
    """Sessions of a killed rebuild whose other processes are a moment late, or frozen with locks on what is dropped next.

    Who holds the right has opened none yet, and nobody else may have any.
    """
    await conn.execute(
        "SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity "
        "WHERE datname = current_database() AND usename = current_user AND starts_with(application_name, $1)",
        rows_of(service), LOCK_SECONDS * 1000,
    )  # fmt: skip


def rows_of(service: str) -> str:
    """How the names of the sessions begin that write a rebuild's rows."""
    return f"rebuild of {service}: rows, pid "


async def stands(conn: Connection, schema: str) -> bool:
    return bool(await conn.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema))


async def drop(conn: Connection, schema: str) -> None:
    await conn.execute(f"DROP SCHEMA IF EXISTS {quoted(schema)} CASCADE")


async def analyze(conn: Connection, schema: str) -> None:
    """Tells PostgreSQL what is in the tables; plans that it keeps are made anew."""
    for row in await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema):
        await conn.execute(f"ANALYZE {quoted(schema)}.{quoted(row['tablename'])}")


async def positions_of(conn: Connection, schema: str) -> dict[TopicPartition, int]:
    rows = await conn.fetch(f"SELECT topic, partition, next_offset FROM {quoted(schema)}.projection_positions")
    return {TopicPartition(row["topic"], row["partition"]): int(row["next_offset"]) for row in rows}


async def swap(
    conn: Connection, live: str, coming: str, leaving: str, catch_up: Callable[[dict[TopicPartition, int]], Awaitable[None]]
) -> None:
    """`coming` becomes `live`, and what was live becomes `leaving` (which is dropped before, unless it is `coming`).

    catch_up: projects `coming` to exactly the given positions over other connections. Raises: SwapBlocked; nothing changed then.
    """
    try:
        async with asyncio.timeout(HELD_SECONDS), conn.transaction():
            await conn.execute(f"LOCK TABLE {quoted(live)}.projection_positions IN EXCLUSIVE MODE")
            await catch_up(await positions_of(conn, live))
            await _older_queries_end(conn)
            aside = f"{live}_leaving"
            await conn.execute(f"ALTER SCHEMA {quoted(live)} RENAME TO {quoted(aside)}")
            await conn.execute(f"ALTER SCHEMA {quoted(coming)} RENAME TO {quoted(live)}")
            await drop(conn, leaving)
            await conn.execute(f"ALTER SCHEMA {quoted(aside)} RENAME TO {quoted(leaving)}")
    except (TimeoutError, asyncpg.LockNotAvailableError) as error:
        raise SwapBlocked(
            f"the swap of {live} did not get through within {HELD_SECONDS:g} s: a batch of the projector, a long query, or the rest of "
            "the log held it. The live model is as it was; try again, or look at pg_stat_activity for the transaction that stays open"
        ) from error


async def _older_queries_end(conn: Connection) -> None:
    """Until every transaction that began before now has ended, except who waits for us (the live projector)."""
    began = await conn.fetchval("SELECT clock_timestamp()")
    # nobody tells when another session ends its transaction
    while await conn.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user "
        "AND pid <> pg_backend_pid() AND xact_start < $1 AND NOT pg_backend_pid() = ANY(pg_blocking_pids(pid))",
        began,
    ):
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        # a transaction sees the list of sessions as it was at its first look, unless told to forget it
        await conn.execute("SELECT pg_stat_clear_snapshot()")


def _right(service: str) -> str:
    return literal(f"rebuild {service}")
