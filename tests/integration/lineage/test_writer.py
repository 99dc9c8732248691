"""Lineage on a real broker: each start and end emitted once, whatever is killed when."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import pytest
from barecount_eventlog import Appender, Snapshot, end_offsets

from tests.integration.lineage.kit import Place, life
from tests.support.servers import Kafka

pytestmark = pytest.mark.integration


@pytest.fixture
async def place(kafka: Kafka) -> Place:
    return await Place.create(kafka)


@pytest.fixture
async def appender(place: Place) -> AsyncIterator[Appender]:
    running = Appender(place.kafka, "test")
    await running.start()
    yield running
    await running.stop()


async def until(check: Callable[[], Awaitable[bool]], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


async def has(place: Place, count: int) -> bool:
    return len(await place.emitted()) >= count


async def test_what_is_no_event_is_passed_over(place: Place, appender: Appender) -> None:
    async with place.writer():
        await appender.append_bytes(place.runs, "pool", b"\xff", ())
        await place.play(appender, *life("r1"))
        await until(lambda: has(place, 2), "two events")
    assert await place.emitted() == [("r1", "START"), ("r1", "COMPLETE")]


async def test_a_run_that_was_open_at_a_restart_ends_with_all_it_had(place: Place, appender: Appender) -> None:
    *begun, end = life("r1")
    async with place.writer():
        await place.play(appender, *begun)
        await until(lambda: has(place, 1), "the start")
    async with place.writer() as writer:
        assert writer.open_runs == 1
        await place.play(appender, end)
        await until(lambda: has(place, 2), "the end")
        assert writer.open_runs == 0
    assert await place.emitted() == [("r1", "START"), ("r1", "COMPLETE")]


class Kept:
    """A snapshot store that a test can look into."""

    def __init__(self) -> None:
        self.kept: Snapshot | None = None

    async def load(self, service: str, partition: int, schema: str) -> Snapshot | None:
        return self.kept

    async def save(self, service: str, partition: int, snapshot: Snapshot) -> None:
        self.kept = snapshot


async def test_a_restart_with_a_snapshot_knows_the_same_open_runs(place: Place, appender: Appender) -> None:
    snapshots = Kept()
    async with place.writer(snapshots=snapshots, snapshot_every=1) as writer:
        for number in range(5):
            await place.play(appender, *life(f"done-{number}"))
        await place.play(appender, *life("open")[:3])
        await until(lambda: has(place, 11), "the starts and ends")
        await until(lambda: _drained(place, writer.deriver.lag), "the rest")
    assert snapshots.kept is not None
    async with place.writer(snapshots=snapshots) as writer:
        assert writer.open_runs == 1
        await place.play(appender, *life("open")[3:])
        await until(lambda: has(place, 12), "the end")
    assert Counter(await place.emitted()).most_common(1)[0][1] == 1


async def _drained(place: Place, lag: Callable[[], dict[tuple[str, int], int]]) -> bool:
    return bool(lag()) and not any(lag().values())


@pytest.mark.parametrize("seed", [1, 2])
async def test_kills_emit_nothing_twice_and_lose_nothing(place: Place, appender: Appender, seed: int) -> None:
    random, runs = Random(seed), 120
    stream = asyncio.create_task(_stream(place, appender, runs))
    for _ in range(3):
        process = await place.process()
        before = sum((await end_offsets(place.kafka, place.output)).values())
        await until(lambda before=before: _grew(place, before), "that it writes")
        await asyncio.sleep(random.uniform(0, 0.4))
        process.kill()
        await process.wait()
    await stream
    async with place.writer():
        await until(lambda: has(place, 2 * runs), "every start and end")
    found = Counter(await place.emitted())
    assert set(found.values()) == {1}
    assert set(found) == {(f"run-{n}", kind) for n in range(runs) for kind in ("START", "COMPLETE")}


async def _stream(place: Place, appender: Appender, runs: int) -> None:
    for number in range(runs):
        await place.play(appender, *life(f"run-{number}"), key=f"pool-{number % 4}")
        await asyncio.sleep(0.1)


async def _grew(place: Place, before: int) -> bool:
    return sum((await end_offsets(place.kafka, place.output)).values()) > before + 2
