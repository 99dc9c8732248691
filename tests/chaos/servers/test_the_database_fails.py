"""PostgreSQL cut off in the middle of a batch, restarted, full: a projection stands visibly, goes on, skips nothing and does nothing twice.

The judge is the rows beside the log: every number once, and a running count that a batch applied twice would show.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from barecount_eventlog import Recorded
from barecount_readmodel import Connection, Database, PostgresSnapshots, Projector, Token

from tests.chaos.servers.full_disk import full_disk, small_disk, why_no_disk
from tests.chaos.servers.proxy import proxied
from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, drained, eventually, handler_of
from tests.integration.readmodel.kit import NumbersView, fresh_service, service_database
from tests.integration.readmodel.test_projector import decide, projector_of
from tests.support.servers import Postgres, in_containers

SEEDS = range(int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1")))

pytestmark = pytest.mark.chaos


class Held(NumbersView):
    """Stops after its first batch's rows are written and before they are committed, until it is let go."""

    NAME = "held"

    def __init__(self, *topics: str) -> None:
        super().__init__(*topics)
        self.within, self.go = asyncio.Event(), asyncio.Event()

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        await super().apply(conn, records)
        self.within.set()
        await self.go.wait()


async def exact(topics: Topics, database: Database) -> int:
    """How many numbers there are; each of the log's is one row, and was applied once."""
    expected = {e.envelope.id: e.whole().data["number"] for e in await topics.all_events() if e.envelope.type == "NumberAdded"}
    async with database.query("*") as conn:
        assert {row["event_id"]: row["number"] for row in await conn.fetch("SELECT * FROM numbers")} == expected
        assert (await conn.fetchval("SELECT sum(events) FROM tallies") or 0) == len(expected), "a batch was applied twice"
    return len(expected)


@asynccontextmanager
async def projecting(topics: Topics, database: Database, *views: NumbersView, **more: Any) -> AsyncIterator[Projector]:
    projector = projector_of(topics, database, *views, **more)
    await projector.start()
    try:
        yield projector
    finally:
        await projector.stop()


async def test_a_backend_that_is_ended_within_a_batch_takes_all_of_it_back(topics: Topics, database: Database, postgres: Postgres) -> None:
    await decide(topics, *(add(n) for n in range(1, 8)))
    view = Held(topics.events)
    async with projecting(topics, database, view) as projector:
        await view.within.wait()
        conn = await asyncpg.connect(postgres.dsn())
        ended = await conn.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle in transaction'",
            database.service,
        )
        await conn.close()
        assert ended == 1
        view.go.set()
        await eventually(lambda: projector.ready, 30)
        assert await exact(topics, database) == 7


async def test_a_commit_whose_answer_is_lost_is_not_done_again(topics: Topics, postgres: Postgres) -> None:
    service = fresh_service()
    async with proxied(await service_database(postgres, service=service)) as (proxy, url):
        database = await Database.open(url, service=service)
        async with projecting(topics, database) as projector:
            proxy.losing(b"COMMIT")
            await decide(topics, *(add(n) for n in range(1, 8)))
            await asyncio.wait_for(proxy.lost.wait(), 30)
            await eventually(lambda: projector.ready and projector.lag() == {(topics.events, 0): 0}, 30)
            assert await exact(topics, database) == 7
        await database.close()


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_connection_cut_again_and_again_loses_no_row_and_no_wake_up(topics: Topics, postgres: Postgres, seed: int) -> None:
    dice, service = random.Random(f"cut {seed}"), fresh_service()
    async with proxied(await service_database(postgres, service=service)) as (proxy, url):
        database = await Database.open(url, service=service)
        handler = handler_of(topics, max_batch=5, snapshots=PostgresSnapshots(database), snapshot_every=20)
        await handler.start()
        async with projecting(topics, database, max_batch=3) as projector:
            for _ in range(8):
                for _ in range(dice.randrange(5, 30)):
                    last = await topics.appender.append(topics.inbox, "acme", add(1))
                if dice.random() < 0.5:
                    proxy.losing(dice.choice([b"COMMIT", b"UPDATE projection_positions", b"INSERT INTO tallies"]))
                else:
                    proxy.cut()
            # read-your-writes ends too, although the connection broke while somebody waited
            await projector.wait(Token.of(last), 30)
            await drained(handler, topics)
            await eventually(lambda: projector.ready and projector.lag() == {(topics.events, 0): 0}, 30)
            assert await exact(topics, database) == last.offset + 1
            assert handler.ready, "a snapshot that cannot be written holds no decision up"
        await handler.stop()
        await database.close()


async def test_a_restart_of_postgresql_under_load_holds_no_decision_up_and_loses_no_row(
    topics: Topics, database: Database, postgres: Postgres
) -> None:
    handler = handler_of(topics, snapshots=PostgresSnapshots(database), snapshot_every=10)
    await handler.start()
    async with projecting(topics, database) as projector:
        await topics.appender.append(topics.inbox, "acme", add(1))
        await asyncio.to_thread(postgres.stop)
        for _ in range(30):
            last = await topics.appender.append(topics.inbox, "acme", add(2))
        await drained(handler, topics)
        await eventually(lambda: bool(projector.standing()))
        assert not projector.ready
        await asyncio.to_thread(postgres.start)
        await projector.wait(Token.of(last), 30)
        assert await exact(topics, database) == 31
        assert projector.ready
    await handler.stop()


@pytest.fixture
def small_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, Path]]:
    with small_disk(160) as (server, disk):
        yield server, disk


@pytest.mark.skipif(why_no_disk() is not None or in_containers(), reason=why_no_disk() or "a container has a disk of its own")
async def test_a_full_disk_stands_visibly_and_goes_on_when_there_is_room(topics: Topics, small_postgres: tuple[Postgres, Path]) -> None:
    postgres, disk = small_postgres
    service = fresh_service()
    database = await Database.open(await service_database(postgres, service=service), service=service)
    async with projecting(topics, database, Wide(topics.events), max_batch=20) as projector:
        handler = handler_of(topics)
        await handler.start()
        with full_disk(disk):
            for _ in range(60):
                last = await topics.appender.append(topics.inbox, "acme", add(1, pad=20_000))
            await drained(handler, topics)
            await eventually(lambda: bool(projector.standing()), 60)
            assert not projector.ready
            [error] = projector.standing().values()
        await alive(postgres, database)
        await projector.wait(Token.of(last), 60)
        assert await exact(topics, database) == 60
        assert projector.ready
        await handler.stop()
    assert isinstance(error, (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)), "the database's own word"
    await database.close()


class Wide(NumbersView):
    """Keeps the padding, which does not compress."""

    NAME = "wide"
    DDL = NumbersView.DDL + "CREATE TABLE wide (event_id uuid PRIMARY KEY, pad bytea NOT NULL);"

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        await super().apply(conn, records)
        rows = [(record.envelope.id, random.Random(record.offset).randbytes(200_000)) for record in records]
        await conn.executemany("INSERT INTO wide VALUES ($1, $2)", rows)


async def alive(postgres: Postgres, database: Database) -> None:
    """A full disk may have ended the server itself (its log could not be written): whoever runs it starts it again."""

    async def asked(what: Callable[[], Awaitable[Any]]) -> bool:
        try:
            await what()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    if not await asked(lambda: asyncio.wait_for(database.pool.fetchval("SELECT 1"), 10)):
        await asyncio.to_thread(postgres.kill)
        await asyncio.to_thread(postgres.start)
