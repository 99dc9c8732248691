"""The projector killed and frozen at its await points, also in the midst of its transaction. The judges are the log and the rows."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from barecount_contracts import Cause, Envelope
from barecount_eventlog import Appender

from tests.chaos.crash.choice import SEEDS, Scouted, faults_of, repeat
from tests.chaos.crash.harness import Nursery, race, sessions_of
from tests.chaos.crash.points import Fault, line_of
from tests.integration.eventlog.counter import NumberAdded
from tests.integration.eventlog.kit import Topics, create_topics, settings_of
from tests.integration.readmodel.kit import fresh_service, service_database
from tests.support.judge import read_topic
from tests.support.servers import Kafka, Postgres

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


@asynccontextmanager
async def feeding(topics: Topics, seed: int) -> AsyncIterator[None]:
    """Events, and now and then bytes that nobody can read, until the block ends."""
    dice = random.Random(seed)

    async def feed() -> None:
        number = 0
        while True:
            number += 1
            tenant = f"t{number % 3}"
            if dice.random() < 0.1:
                await topics.appender.append_bytes(topics.events, tenant, b"no event \xff")
            else:
                await topics.appender.append(topics.events, tenant, event(tenant, number))
            await asyncio.sleep(0.005)  # the load's rate: a fault must meet events under way

    task = asyncio.create_task(feed())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def event(tenant: str, number: int) -> Envelope:
    fact = NumberAdded(number=number, total=number)
    cause = Cause(topic="inbox", partition=0, offset=number, index=0, count=1)
    return Envelope(
        id=uuid4(), type=fact.TYPE, tenant=tenant, time=datetime.now(UTC), correlation=uuid4(), cause=cause, data=fact.to_data()
    )


async def places(postgres: Postgres, topics: Topics) -> dict[str, Any]:
    service = fresh_service()
    database = await service_database(postgres, service=service)
    return {"service": service, "database": database, "events": topics.events, "kafka": dataclasses.asdict(topics.kafka)}


class Rows:
    """What stands in the read model, asked as its owner."""

    def __init__(self, conn: asyncpg.Connection[asyncpg.Record], database: str, service: str) -> None:
        self._conn, self._database, self._service, self._schema = conn, database, service, ""

    async def fetch(self, query: str) -> list[asyncpg.Record]:
        """query: with `{}` for the schema."""
        if not self._schema:
            self._schema = await self._conn.fetchval("SELECT nspname FROM pg_namespace WHERE nspname LIKE $1", f"{self._service}\\_%") or ""
        return await self._conn.fetch(query.format(self._schema)) if self._schema else []

    async def position(self) -> int:
        rows = await self.fetch("SELECT next_offset FROM {}.projection_positions")
        return int(rows[0]["next_offset"]) if rows else 0

    async def reaches(self, goal: int, told: str, seconds: float = 45) -> None:
        try:
            async with asyncio.timeout(seconds):
                while await self.position() < goal:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)  # between two looks at the row
        except TimeoutError:
            sessions = await sessions_of(self._database)
            raise AssertionError(f"the rows stand at {await self.position()}, not at {goal}: {sessions}; {told}") from None


@asynccontextmanager
async def looking(given: dict[str, Any]) -> AsyncIterator[Rows]:
    conn = await asyncpg.connect(given["database"])
    try:
        yield Rows(conn, given["database"], given["service"])
    finally:
        conn.terminate()


@pytest.fixture(scope="module")
async def scouted(nursery: Nursery, kafka: Kafka, postgres: Postgres) -> Scouted:
    """What two projectors in turn come by who are left alone; only asked for when there are many seeds."""
    if SEEDS == 1:
        return []
    settings, found = settings_of(kafka), Scouted()
    (events,) = await create_topics(settings, "events")
    appender = Appender(settings, "scout")
    await appender.start()
    topics = Topics(settings, "", events, appender)
    given = await places(postgres, topics)
    async with feeding(topics, 0), looking(given) as rows:
        for _ in range(2):
            scout = await nursery.ready("projector", given)
            await rows.reaches(await rows.position() + 150, "a scout")
            found.append(await scout.points())
    await appender.stop()
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_projector_that_ends_anywhere_leaves_exact_rows(
    nursery: Nursery, kafka: Kafka, postgres: Postgres, topics: Topics, scouted: Scouted, seed: int
) -> None:
    given, faults = await places(postgres, topics), faults_of(nursery.choice("projector"), seed, scouted)
    told = repeat("projector", seed, faults)
    async with looking(given) as rows:
        async with feeding(topics, seed):

            async def works() -> None:
                await rows.reaches(await rows.position() + 40, told)

            last, frozen = await race(nursery, "projector", given, faults, works)
        log = read_topic(kafka.librdkafka(), topics.events)
        await rows.reaches(log.ends[0], told)
        for process in [last, *frozen]:
            await process.kill()
        events = [one for _, one in sorted(log.records.items()) if "raw" not in one]
        found = await rows.fetch("SELECT event_id::text AS id, number FROM {}.numbers")
        assert {row["id"]: row["number"] for row in found} == {one["id"]: one["data"]["number"] for one in events}, told
        expected = Counter(one["tenant"] for one in events)
        tallies = {row["tenant"]: row["events"] for row in await rows.fetch("SELECT tenant, events FROM {}.tallies")}
        assert tallies == expected, f"a batch was applied twice or not at all; {told}"
        parked = sorted(row["offset"] for row in await rows.fetch('SELECT "offset" FROM {}.projection_errors'))
        assert parked == sorted(offset for (_, offset), one in log.records.items() if "raw" in one), told
        assert await rows.position() == log.ends[0]
        assert len(events) > 60, told


async def test_a_projector_frozen_between_the_messages_of_a_statement_does_not_hold_its_successor(
    nursery: Nursery, postgres: Postgres, topics: Topics
) -> None:
    """To PostgreSQL such a session is not idle: it waits for the client's next message. Seed 4 of the matrix found it."""
    awaited = ("self._apply_until_done(batch)", "self.apply(records", "self._commit(conn, good", "self._park(conn", "conn.executemany(")
    frames = [line_of("libs/readmodel/barecount_readmodel/track.py", text) for text in awaited]
    # the first record that cannot be read is to be parked, and its statement is being prepared: the position's row is locked
    fault = Fault("STOP", f"{' > '.join(frames)} | {place_of_asyncpg()}", 1)
    given = await places(postgres, topics)
    async with looking(given) as rows, feeding(topics, 0):
        frozen = await nursery.start("projector", given, fault)
        assert await frozen.met(30), f"the point is another by now: {fault}"
        last = await nursery.ready("projector", given)
        await rows.reaches(await rows.position() + 40, str(fault), seconds=30)
        await last.kill()
    await frozen.kill()


def place_of_asyncpg() -> str:
    lines, first = inspect.getsourcelines(asyncpg.Connection._get_statement)
    return f"connection.py:{first + next(number for number, line in enumerate(lines) if 'await self._protocol.prepare(' in line)}"
