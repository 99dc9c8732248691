"""Owners frozen in the midst of a transaction for twice its timeout: when they wake, a reader sees none of what they had sent."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping

import pytest
from barecount_eventlog import end_offsets
from confluent_kafka import Consumer, TopicPartition

from tests.chaos.crash.choice import SEEDS
from tests.chaos.crash.harness import Nursery
from tests.chaos.crash.points import Fault, line_of
from tests.chaos.crash.test_handler import decided, feeding, judged, more_events, places
from tests.integration.eventlog.kit import Topics
from tests.support.servers import Kafka, Postgres

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

WRITER = "libs/eventlog/barecount_eventlog/writer.py"
TIMEOUT = 2.0
# after its records were sent, between their acknowledgement and the position, and with EndTxn on its way
MOMENTS = ("asyncio.gather(*(future", "producer.send_offsets_to_transaction(", "producer.commit_transaction()")


async def test_no_record_of_an_owner_that_slept_through_its_transaction_is_visible(
    nursery: Nursery, kafka: Kafka, postgres: Postgres, topics: Topics
) -> None:
    given = await places(kafka, postgres, topics) | {"transaction_seconds": TIMEOUT}
    frozen = []
    async with feeding(topics, 1):
        for moment in MOMENTS:
            fault = Fault("STOP", f"{line_of(WRITER, moment)}…", 3)
            owner = await nursery.start("handler", given, fault)
            assert await owner.met(30), f"the owner did not come by {fault}"
            frozen.append(owner)
        last = await nursery.ready("handler", given)
        await asyncio.sleep(2 * TIMEOUT)  # how long the owners sleep is the subject
        await more_events(topics)
        for owner in frozen:
            owner.send(signal.SIGCONT)
        for owner in frozen:
            await owner.until(lambda: owner.heard("out"), 30, "find that it was fenced")  # noqa: B023
        await more_events(topics)
    await decided(kafka, topics, given["service"], "zombies")
    for process in [last, *frozen]:
        await process.kill()
    judged(kafka, topics.inbox, topics.events, given["side"], "zombies")
    written = Counter(uncommitted(kafka.librdkafka(), topics.events))
    assert max(written.values()) > 1, "no owner was frozen with records in the log, so nothing was shown"


@pytest.mark.skipif(SEEDS == 1, reason="the broker takes ten seconds to look: `make chaos` runs it")
async def test_an_owner_alone_that_slept_through_its_transaction_takes_over_from_itself(
    nursery: Nursery, kafka: Kafka, postgres: Postgres, topics: Topics
) -> None:
    """Nobody else comes: the broker ends the transaction, and the sleeper learns it when it wakes."""
    given = await places(kafka, postgres, topics) | {"transaction_seconds": TIMEOUT}
    async with feeding(topics, 2):
        owner = await nursery.start("handler", given, Fault("STOP", f"{line_of(WRITER, MOMENTS[1])}…", 3))
        assert await owner.met(30)
        async with asyncio.timeout(40):
            # the broker looks for old transactions every ten seconds
            while await open_transaction(topics):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        owner.send(signal.SIGCONT)
        await more_events(topics)
    await decided(kafka, topics, given["service"], "a sleeper")
    await owner.kill()
    judged(kafka, topics.inbox, topics.events, given["side"], "a sleeper")


async def open_transaction(topics: Topics) -> bool:
    """Whether something holds the last stable offset back."""
    return await end_offsets(topics.kafka, topics.events) != await end_offsets(topics.kafka, topics.events, "read_uncommitted")


def uncommitted(client: Mapping[str, str], topic: str) -> list[bytes]:
    """Every value of a topic, also those of aborted transactions."""
    consumer = Consumer(
        {**client, "group.id": "judge", "isolation.level": "read_uncommitted", "enable.auto.commit": False, "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = []
    try:
        while True:
            record = consumer.poll(20)
            assert record is not None, f"{topic}: nothing read for 20 s"
            error = record.error()
            if error is not None:
                assert error.name() == "_PARTITION_EOF", error
                return found
            found.append(record.value())
    finally:
        consumer.close()
