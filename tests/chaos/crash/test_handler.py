"""The command handler killed and frozen at its await points. The judge is the log, read by another client than the product's."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from barecount_eventlog import Appender, committed_offsets, end_offsets

from tests.chaos.crash.choice import SEEDS, Scouted, faults_of, repeat
from tests.chaos.crash.harness import Nursery, race
from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, create_topics, settings_of
from tests.integration.readmodel.kit import fresh_service, service_database
from tests.support.judge import read_topic
from tests.support.servers import Kafka, Postgres

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


@asynccontextmanager
async def feeding(topics: Topics, seed: int) -> AsyncIterator[None]:
    """Commands of every kind, one after the other, until the block ends."""
    dice = random.Random(seed)

    async def feed() -> None:
        number = 0
        while True:
            number += 1
            tenant = f"t{number % 3}"
            match dice.randrange(10):
                case 0:
                    await topics.appender.append_bytes(topics.inbox, tenant, b"no command \xff")
                case 1:
                    await topics.appender.append(topics.inbox, tenant, add(13, tenant))
                case 2:
                    repeated = add(7, tenant, key=f"same {number % 2}")
                    await topics.appender.append(topics.inbox, tenant, repeated)
                case 3:
                    await topics.appender.append(topics.inbox, tenant, add(1, tenant, alarm_in_ms=20))
                case _:
                    await topics.appender.append(topics.inbox, tenant, add(number % 600, tenant, emits=dice.randint(1, 3)))
            await asyncio.sleep(0.01)  # the load's rate: a fault must meet commands under way

    task = asyncio.create_task(feed())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def places(kafka: Kafka, postgres: Postgres, topics: Topics) -> dict[str, Any]:
    service = fresh_service()
    (side,) = await create_topics(topics.kafka, "side")
    database = await service_database(postgres, service=service)
    names = {"service": service, "database": database, "inbox": topics.inbox, "events": topics.events, "side": side}
    return names | {"kafka": dataclasses.asdict(topics.kafka)}


async def more_events(topics: Topics, seconds: float = 30, least: int = 20) -> None:
    """Until somebody has written `least` more events."""
    goal = (await end_offsets(topics.kafka, topics.events))[0] + least
    async with asyncio.timeout(seconds):
        while (await end_offsets(topics.kafka, topics.events))[0] < goal:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # between two questions to the broker


@pytest.fixture(scope="module")
async def scouted(nursery: Nursery, kafka: Kafka, postgres: Postgres) -> Scouted:
    """What two owners in turn come by who are left alone; only asked for when there are many seeds."""
    if SEEDS == 1:
        return []
    settings = settings_of(kafka)
    inbox, events = await create_topics(settings, "inbox", "events")
    appender = Appender(settings, "scout")
    await appender.start()
    topics = Topics(settings, inbox, events, appender)
    given, found = await places(kafka, postgres, topics), Scouted()
    async with feeding(topics, 0):
        for _ in range(2):
            scout = await nursery.ready("handler", given)
            await more_events(topics, least=150)
            found.append(await scout.points())
    await appender.stop()
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_handler_that_ends_anywhere_leaves_one_outcome_an_offset(
    nursery: Nursery, kafka: Kafka, postgres: Postgres, topics: Topics, scouted: Scouted, seed: int
) -> None:
    given, faults = await places(kafka, postgres, topics), faults_of(nursery.choice("handler"), seed, scouted)
    async with feeding(topics, seed):
        last, frozen = await race(nursery, "handler", given, faults, lambda: more_events(topics))
    told = repeat("handler", seed, faults)
    await decided(kafka, topics, given["service"], told)
    for process in [last, *frozen]:
        await process.kill()
    judged(kafka, topics.inbox, topics.events, given["side"], told)


async def decided(kafka: Kafka, topics: Topics, service: str, told: str) -> None:
    """Until the group's position, which commits with the outcomes, is the inbox's end."""
    where, end = TopicPartition(topics.inbox, 0), (await end_offsets(topics.kafka, topics.inbox))[0]
    held: dict[TopicPartition, int] = {}
    try:
        async with asyncio.timeout(45):
            while held.get(where, 0) < end:
                held = await committed_offsets(topics.kafka, f"{service}.{topics.inbox}", [where])
    except TimeoutError:
        raise AssertionError(f"nobody decides to the inbox's end {end}, the group stands at {held}; {told}") from None


def judged(kafka: Kafka, inbox: str, events: str, side: str, told: str) -> None:
    """The log alone: one whole answer an inbox offset over both topics, unique ids, and numbers that follow from the commands."""
    commands, own, beside = [read_topic(kafka.librdkafka(), topic).records for topic in (inbox, events, side)]
    answers: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in [*own.values(), *beside.values()]:
        answers[event["cause"]["offset"]].append(event)
    # the killed owner may have appended one tick more, which it did not live to decide
    late = [offset for (_, offset), command in sorted(commands.items()) if offset > max(answers) and command.get("type") == "Tick"]
    asked = {offset for _, offset in commands} - set(late)
    assert answers.keys() == asked, f"without an outcome {sorted(asked - answers.keys())}, of none {sorted(answers.keys() - asked)}; {told}"
    for offset, found in answers.items():
        indexes = sorted(event["cause"].get("index", 0) for event in found)
        assert indexes == list(range(found[0]["cause"]["count"])), f"offset {offset} has the answers {indexes}: twice or in part; {told}"
    ids = Counter(event["id"] for event in [*own.values(), *beside.values()])
    assert ids.total() == len(ids), f"event ids twice; {told}"
    accepted = [event for _, event in sorted(own.items()) if event["type"] == "NumberAdded" and not event["cause"].get("index", 0)]
    assert [event["cause"]["offset"] for event in accepted] == sorted(event["cause"]["offset"] for event in accepted), told
    totals: Counter[str] = Counter()
    for event in accepted:
        totals[event["tenant"]] += event["data"]["number"]
        assert event["data"]["total"] == totals[event["tenant"]], f"a number is missing or twice before {event}; {told}"
    assert len(beside) == len(accepted), f"the second topic tells of {len(beside)} of {len(accepted)} numbers; {told}"
    assert len(accepted) > 20, told
