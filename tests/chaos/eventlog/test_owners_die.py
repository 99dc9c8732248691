"""Owners killed and frozen while they work, with a successor at once. The judge is the log read under read_committed, and the rows."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter as Tally
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from barecount_eventlog import end_offsets, read_all

from tests.chaos.eventlog.harness import Owners
from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, create_topics, drained, handler_of
from tests.integration.readmodel.kit import fresh_service, service_database
from tests.support.servers import Postgres

ROUNDS = 6
BESIDE_ZOMBIES = 100  # records that the last owner writes while the woken ones try


@asynccontextmanager
async def load(topics: Topics, *inboxes: str, every: float = 0.004) -> AsyncIterator[Callable[[], int]]:
    """Appends numbered commands until the block ends; gives how many were acknowledged."""
    sent = 0

    async def append() -> None:
        nonlocal sent
        while True:
            inbox = inboxes[sent % len(inboxes)]
            await topics.appender.append(inbox, f"t{sent % 7}", add(1, tenant=f"t{sent % 7}"))
            sent += 1
            await asyncio.sleep(every)  # the load's rate: kills must meet records under way

    task = asyncio.create_task(append())
    try:
        yield lambda: sent
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def torment(owners: Owners, dice: random.Random, progress: Callable[[], Awaitable[int]], rounds: int = ROUNDS) -> int:
    """Kills or freezes the owner at a random moment, starts a successor at once, and wakes the frozen ones while it works.

    progress: how many records the owners have written so far; the last successor goes on beside all that were woken.
    """
    frozen = []
    current = await owners.start()
    for turn in range(rounds):
        await asyncio.sleep(dice.uniform(0.05, 0.6))  # the moment of the fault is the subject
        # both ways in every run, in an order that the seed decides
        if (turn + dice.randrange(2)) % 2:
            await owners.kill(current)
        else:
            owners.freeze(current)
            frozen.append(current)
        current = await owners.start()
        for zombie in frozen:
            owners.wake(zombie)
    written = await progress()
    async with asyncio.timeout(30):
        while await progress() < written + BESIDE_ZOMBIES:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return len(frozen)


async def end_of(topics: Topics, topic: str) -> int:
    return (await end_offsets(topics.kafka, topic))[0]


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [1, 2])
async def test_every_offset_has_one_outcome_although_owners_are_killed_and_frozen(topics: Topics, seed: int) -> None:
    async with Owners.of("handler", topics.kafka, inbox=topics.inbox, events=topics.events) as owners, load(topics, topics.inbox) as sent:
        zombies = await torment(owners, random.Random(seed), lambda: end_of(topics, topics.events))
        count = sent()
    last = handler_of(topics)
    await last.start()
    await drained(last, topics)
    await last.stop()
    end = (await end_offsets(topics.kafka, topics.inbox))[0]
    assert end >= count > 200
    assert zombies > 0
    offsets = [e.envelope.cause.offset for e in await topics.outcomes() if e.envelope.cause]
    assert offsets == list(range(end)), f"missing or twice: {Tally(offsets) - Tally(range(end))} {Tally(range(end)) - Tally(offsets)}"
    assert sum(last.state(0).totals.values()) == end


@pytest.mark.chaos
async def test_a_deriver_writes_every_source_record_once_although_it_is_killed_and_frozen(topics: Topics) -> None:
    first, second = await create_topics(topics.kafka, "source", "source", partitions=2)
    (output,) = await create_topics(topics.kafka, "output")
    async with Owners.of("deriver", topics.kafka, sources=[first, second], output=output) as owners:
        async with load(topics, first, second) as sent:
            await torment(owners, random.Random(3), lambda: end_of(topics, output))
            assert sent() > 200
        ends = {(t, p): o for t in (first, second) for p, o in (await end_offsets(topics.kafka, t)).items()}
        async with asyncio.timeout(30):
            while True:
                records = [r async for batch in read_all(topics.kafka, output) for r in batch.records]
                spans = [span for r in records if r.key == "covered" for span in json.loads(r.value)]
                covered = {(t, p): next_ for t, p, _, next_ in spans}
                if covered == ends:
                    break
                await asyncio.sleep(0.2)
    copies = [r.value.decode() for r in records if r.key == "copy"]
    assert sorted(copies) == sorted(f"{t}/{p}/{o}" for (t, p), end in ends.items() for o in range(end))
    for where in ends:
        mine = [(start, next_) for t, p, start, next_ in spans if (t, p) == where]
        assert [start for start, _ in mine] == [0, *(next_ for _, next_ in mine[:-1])], "coverage without gap or overlap"


@pytest.mark.chaos
async def test_a_projection_is_exact_although_its_process_is_killed_and_frozen(topics: Topics, postgres: Postgres) -> None:
    service = fresh_service()
    url = await service_database(postgres, service=service)
    handler = handler_of(topics, max_batch=10)
    await handler.start()
    async with Owners.of("projector", topics.kafka, database=url, service=service, events=topics.events) as owners:
        conn = await asyncpg.connect(url)

        async def position() -> int:
            schema = await conn.fetchval("SELECT nspname FROM pg_namespace WHERE nspname LIKE $1", f"{service}\\_%")
            return int(await conn.fetchval(f"SELECT next_offset FROM {schema}.projection_positions") or 0)

        async with load(topics, topics.inbox):
            await torment(owners, random.Random(4), position)
        await drained(handler, topics)
        await handler.stop()
        expected = {e.envelope.id: e.whole().data["number"] for e in await topics.all_events()}
        schema = await conn.fetchval("SELECT nspname FROM pg_namespace WHERE nspname LIKE $1", f"{service}\\_%")
        end = (await end_offsets(topics.kafka, topics.events))[0]
        async with asyncio.timeout(30):
            while await conn.fetchval(f"SELECT next_offset FROM {schema}.projection_positions") != end:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert {r["event_id"]: r["number"] for r in await conn.fetch(f"SELECT * FROM {schema}.numbers")} == expected
        assert await conn.fetchval(f"SELECT sum(events) FROM {schema}.tallies") == len(expected), "no batch was applied twice"
        await conn.close()
    assert len(expected) > 200
