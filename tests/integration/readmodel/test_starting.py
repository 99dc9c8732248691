"""A process that is frozen while it starts holds up nobody who starts after it: frozen at each of its awaits in turn."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from barecount_readmodel import Database, PostgresSnapshots

from tests.integration.readmodel.kit import NumbersView, fresh_service, service_database
from tests.support.servers import Postgres

# far below the 10 s and 60 s after which PostgreSQL ends what a frozen process left open
HELD_UP = 3.0


async def snapshots(database: Database) -> object:
    return await PostgresSnapshots(database).load("any", 0, "v1")


async def views(database: Database) -> object:
    return await database.prepare([NumbersView("t")])


# what an earlier release made lacks these, so that they are added at the start
AGED = {
    snapshots: "ALTER TABLE {service}_state.snapshots DROP COLUMN cluster, DROP COLUMN last_offset, DROP COLUMN last_digest",
    views: "ALTER TABLE {schema}.projection_positions DROP COLUMN cluster, DROP COLUMN last_offset, DROP COLUMN last_digest",
}


@types.coroutine
def frozen_at(turn: int, work: Coroutine[Any, Any, object], met: asyncio.Event) -> Generator[Any, Any, object]:
    """`work`, until it has waited `turn` times: what it waited for comes, and it never hears of it."""
    try:
        for _ in range(turn):
            yield work.send(None)
    except StopIteration as ended:
        return ended.value
    met.set()
    yield from asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")


@asynccontextmanager
async def opened(url: str, service: str) -> AsyncIterator[Database]:
    database = await Database.open(url, service=service)
    try:
        yield database
    finally:
        database.pool.terminate()


@pytest.mark.parametrize("standing", ["nothing", "an earlier release's", "all"])
@pytest.mark.parametrize("start", [snapshots, views], ids=lambda start: start.__name__)
async def test_a_process_frozen_while_it_starts_holds_up_nobody(
    postgres: Postgres, start: Callable[[Database], Coroutine[Any, Any, object]], standing: str
) -> None:
    turn, frozen = 0, True
    while frozen:
        turn += 1
        service = fresh_service()
        url = await service_database(postgres, service=service)
        if standing != "nothing":
            async with opened(url, service) as database:
                await start(database)
                if standing != "all":
                    await database.pool.execute(AGED[start].format(service=service, schema=database.schema))
        async with opened(url, service) as first, opened(url, service) as second:
            met = asyncio.Event()
            # ends by itself when it has no such await any more
            task = asyncio.create_task(_driven(frozen_at(turn, start(first), met)))
            await asyncio.wait({task, waiting := asyncio.create_task(met.wait())}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            frozen = not task.done()
            try:
                await asyncio.wait_for(start(second), HELD_UP)
            except TimeoutError:
                raise AssertionError(f"frozen at its await {turn}, it holds up who starts after it: {await _sessions(url)}") from None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    # it waits at least for a connection and for the look at what stands
    assert turn > 4


async def _driven(work: Awaitable[object]) -> object:
    return await work


async def _sessions(url: str) -> list[dict[str, Any]]:
    conn = await asyncpg.connect(url)
    try:
        rows = await conn.fetch(
            "SELECT pid, state, wait_event, pg_blocking_pids(pid) AS behind, query FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        return [dict(row) for row in rows]
    finally:
        await conn.close()
