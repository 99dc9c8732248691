"""Kafka killed and stopped while handler, deriver and projector work: all go on by themselves, nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from barecount_contracts import Position
from barecount_eventlog import Appender, AppendFailed, Deriver, KafkaSettings, read_all
from barecount_readmodel import Database, Projector, Token

from tests.chaos.eventlog.owner_process import echo
from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, create_topics, drained, eventually, handler_of, settings_of
from tests.integration.readmodel.kit import NumbersView, fresh_service, service_database
from tests.support.servers import Kafka, Postgres, kafka_server


@pytest.fixture
def mortal() -> Iterator[Kafka]:
    """A broker of this test's own: the session's must live."""
    with kafka_server() as running:
        yield running


async def append_surely(appender: Appender, topic: str, number: int) -> Position:
    """As a caller does: the same command again until it is acknowledged."""
    command = add(1, key=f"n{number}")
    while True:
        try:
            return await appender.append(topic, "acme", command, timeout=2)
        except AppendFailed:
            continue


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_everything_goes_on_after_the_broker_died(mortal: Kafka, postgres: Postgres) -> None:
    kafka: KafkaSettings = settings_of(mortal)
    inbox, events, output = await create_topics(kafka, "inbox", "events", "output")
    appender = Appender(kafka, "test")
    await appender.start()
    topics = Topics(kafka, inbox, events, appender)
    service = fresh_service()
    database = await Database.open(await service_database(postgres, service=service), service=service)
    handler = handler_of(topics, max_batch=5)
    projector = Projector(kafka=kafka, database=database, service=service, views=[NumbersView(events)])
    deriver = Deriver(kafka=kafka, service="test", name="d", sources=[events], output=output, output_partition=0, transform=echo)
    await asyncio.gather(handler.start(), projector.start(), deriver.start())
    appended = 0

    async def load() -> None:
        nonlocal appended
        for number in range(600):
            await append_surely(appender, inbox, number)
            appended += 1

    task = asyncio.create_task(load())
    for end in (mortal.kill, mortal.stop):
        goal = appended + 100
        await eventually(lambda goal=goal: appended >= goal, 60)  # type: ignore[misc]
        await asyncio.to_thread(end)
        await asyncio.to_thread(mortal.start)
    await task
    last = await append_surely(appender, inbox, 600)
    await drained(handler, topics, 60)
    await projector.wait(Token.of(last), 60)
    outcomes = await topics.outcomes()
    assert [e.envelope.cause.offset for e in outcomes if e.envelope.cause] == list(range(last.offset + 1))
    added = [e for e in outcomes if e.envelope.type == "NumberAdded"]
    assert len(added) == 601, "each command once, however often it was sent"
    assert handler.state(0).totals["acme"] == 601
    async with database.query("acme") as conn:
        assert await conn.fetchval("SELECT events FROM tallies") == 601
    await eventually(lambda: sum(deriver.lag().values()) == 0 and deriver.ready, 60)
    copies = [r.value.decode() async for b in read_all(kafka, output) for r in b.records if r.key == "copy"]
    assert sorted(copies) == sorted(f"{events}/0/{e.offset}" for e in await topics.all_events())
    assert handler.ready
    for worker in (projector, deriver, handler, appender):
        await worker.stop()
    await database.close()
