"""state.changes on a real broker: each record that outsiders may know of told once, whatever is killed when."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from barecount_contracts import Position, event_id
from barecount_eventlog import Appender, KafkaSettings, Recorded, TopicMissing, end_offsets, read_all
from barecount_streams.domain.changes import ATTEMPTS, CONTROL, OUTPUT, RUNS
from barecount_streams.handler import RESTORE_FROM, ChangeWriter
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

from tests.integration.lineage.kit import event_of, life
from tests.integration.streams.kit import kafka_as
from tests.support.forks import Forked, forked
from tests.support.servers import Kafka

pytestmark = pytest.mark.integration
LIFE = ("run.queued", "run.started", "task.succeeded", "data-partition.published", "run.succeeded")


@dataclass(frozen=True)
class Place:
    kafka: KafkaSettings
    names: dict[str, str]
    service: str

    @classmethod
    def create(cls, kafka: Kafka) -> Place:
        made = [
            kafka.topic(name.replace(".", "-"), 4, message_timestamp_type="LogAppendTime") for name in (CONTROL, RUNS, ATTEMPTS, OUTPUT)
        ]
        names = dict(zip((CONTROL, RUNS, ATTEMPTS, OUTPUT), made, strict=True))
        return cls(kafka_as(kafka, "admin"), names, f"streams-{secrets.token_hex(3)}")

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[ChangeWriter]:
        writer = ChangeWriter(self.kafka, names=self.names, service=self.service)
        await writer.start()
        try:
            yield writer
        finally:
            await writer.stop()

    async def process(self) -> Forked:
        given = {"kafka": vars(self.kafka), "names": self.names, "service": self.service}
        return await forked("tests.integration.streams.writer_process", json.dumps(given))

    async def play(self, appender: Appender, run: str, *, tenant: str = "acme", steps: slice = slice(None)) -> None:
        for payload in life(run)[steps]:
            await appender.append(self.names[RUNS], f"pool-{run}", event_of(payload, tenant))

    async def told(self) -> list[Recorded]:
        return [record async for batch in read_all(self.kafka, self.names[OUTPUT]) for record in batch.records]

    async def until(self, count: int, seconds: float = 60) -> list[Recorded]:
        async with asyncio.timeout(seconds):
            while len(found := await self.told()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return found


@pytest.fixture
async def place(kafka: Kafka) -> Place:
    made = Place.create(kafka)
    async with asyncio.timeout(30):
        for name in made.names.values():
            # the controller answers before the broker knows them
            while not await _known(made.kafka, name):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    return made


async def _known(kafka: KafkaSettings, topic: str) -> bool:
    try:
        return bool(await end_offsets(kafka, topic))
    except (TopicMissing, KafkaError):
        return False


@pytest.fixture
async def appender(place: Place) -> AsyncIterator[Appender]:
    running = Appender(place.kafka, "test")
    await running.start()
    yield running
    await running.stop()


async def test_a_run_is_told_in_order_and_every_change_carries_its_plan(place: Place, appender: Appender) -> None:
    async with place.writer():
        await appender.append_bytes(place.names[RUNS], "pool-r1", b"\xff", ())  # nobody can read it: it stops nothing
        await place.play(appender, "r1")
        found = await place.until(5)
    assert tuple(record.cloud_event.type for record in found) == LIFE
    assert {record.cloud_event.change().pipeline for record in found} == {"revenue-kpi"}
    assert len({record.partition for record in found}) == 1
    assert {record.key for record in found} == {"acme"}


async def test_the_official_library_reads_our_records(place: Place, appender: Appender) -> None:
    async with place.writer():
        await place.play(appender, "r1")
        found = await place.until(5)
    for record in found:
        assert record.raw_key is not None
        event: Any = from_binary_event(KafkaMessage(headers=dict(record.headers), key=record.raw_key, value=record.value))
        ours = record.cloud_event
        assert (event.get_id(), event.get_type(), event.get_source(), event.get_subject()) == (
            ours.id,
            ours.type,
            ours.source,
            ours.subject,
        )
        assert event.get_time() == ours.time
        assert event.get_data()["summary"] == ours.data["summary"]
        assert event.get_extension("tenant") == "acme"


async def test_a_run_that_was_open_at_a_restart_keeps_its_plan_and_the_log_before_it_is_not_read_again(
    place: Place, appender: Appender
) -> None:
    async with place.writer():
        for number in range(20):
            await place.play(appender, f"done-{number}")
        await place.play(appender, "open", steps=slice(0, 2))
        await place.until(102)
    async with place.writer() as writer:
        assert writer.open_runs == 1
        await place.play(appender, "open", steps=slice(2, None))
        found = await place.until(105)
        assert writer.open_runs == 0
    last = [record for record in found if record.cloud_event.change().run_id == "open"]
    assert tuple(record.cloud_event.type for record in last) == LIFE
    assert {record.cloud_event.change().pipeline for record in last} == {"revenue-kpi"}
    marks = [json.loads(record.headers[RESTORE_FROM]) for record in found if RESTORE_FROM in record.headers]
    assert any(offset > 0 for offset in marks[-1][RUNS].values()), "a take-over begins at the oldest open run"


@pytest.mark.parametrize("seed", [1, 2])
async def test_kills_tell_nothing_twice_and_leave_nothing_out(place: Place, appender: Appender, seed: int) -> None:
    random, runs = Random(seed), 100
    stream = asyncio.create_task(_stream(place, appender, runs))
    for _ in range(3):
        process = await place.process()
        before = sum((await end_offsets(place.kafka, place.names[OUTPUT])).values())
        async with asyncio.timeout(60):
            while sum((await end_offsets(place.kafka, place.names[OUTPUT])).values()) <= before + 3:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.sleep(random.uniform(0, 0.3))
        process.kill()
        await process.wait()
    await stream
    async with place.writer():
        found = await place.until(5 * runs)
    sources = [r async for batch in read_all(place.kafka, place.names[RUNS]) for r in batch.records]
    expected = {str(event_id(RUNS, r.partition, r.offset, 0)) for r in sources}
    ids = [record.cloud_event.id for record in found]
    assert len(ids) == len(set(ids))
    assert set(ids) == expected
    for record in found:
        data = record.cloud_event.change()
        assert data.pipeline == "revenue-kpi", "what was open is known again after each take-over"
        assert data.source == Position(topic=RUNS, partition=data.source.partition, offset=data.source.offset)


async def _stream(place: Place, appender: Appender, runs: int) -> None:
    for number in range(runs):
        await place.play(appender, f"run-{number}", tenant=f"tenant-{number % 5}")
        await asyncio.sleep(0.05)  # so that the kills meet it under way
