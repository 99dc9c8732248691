"""Kafka forgets a transactional id that was idle (after 7 days by default): who owned it notices, takes over anew, and decides once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import InvalidProducerIdMapping
from barecount_eventlog import Deriver, KafkaSettings, read_all
from barecount_eventlog.metrics import TRANSACTION_BROKEN

from tests.chaos.eventlog.owner_process import echo
from tests.chaos.servers.test_the_log_s_disk import broker_in, topics_on
from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import create_topics, drained, eventually, handler_of
from tests.support.servers import folder_for_servers, in_containers

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(in_containers(), reason="a broker with other settings: on embedded servers"),
]

EXPIRY_SECONDS, LOOK_SECONDS = 1.0, 0.3
FORGETFUL = {
    "transactional.id.expiration.ms": int(EXPIRY_SECONDS * 1000),
    "transaction.remove.expired.transaction.cleanup.interval.ms": int(LOOK_SECONDS * 1000),
}


@pytest.fixture
async def forgetful() -> AsyncIterator[KafkaSettings]:
    with folder_for_servers() as folder, broker_in(folder, FORGETFUL) as (_, kafka):
        yield kafka


def broken(writer: str) -> float:
    """How often a transaction of a writer did not come to a known end; aiokafka's sender dies of the broker's word and gives its own."""
    return float(TRANSACTION_BROKEN.labels(writer=writer, error="KafkaError")._value.get())


async def test_an_owner_and_a_deriver_whose_ids_expired_take_over_anew_and_do_everything_once(
    forgetful: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    topics = await topics_on(forgetful)
    (output,) = await create_topics(forgetful, "output")
    handler = handler_of(topics)
    deriver = Deriver(
        kafka=forgetful, service="test", name=output, sources=[topics.events], output=output, output_partition=0, transform=echo
    )
    await asyncio.gather(handler.start(), deriver.start())

    async def copies() -> list[str]:
        return [record.value.decode() async for batch in read_all(forgetful, output) for record in batch.records if record.key == "copy"]

    async def through(count: int) -> None:
        """One more command; until `count` have their outcome, and each outcome has its copy."""
        await topics.appender.append(topics.inbox, "acme", add(1))
        await drained(handler, topics)
        outcomes = await topics.outcomes()
        assert [event.envelope.cause.offset for event in outcomes if event.envelope.cause] == list(range(count)), "each command once"
        async with asyncio.timeout(20):
            while len(await copies()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # between two looks at the log
        assert await copies() == [f"{topics.events}/0/{event.offset}" for event in outcomes], "each outcome once"

    await through(1)
    for number in range(2, 5):
        await asyncio.sleep(EXPIRY_SECONDS + 3 * LOOK_SECONDS)  # how long the ids are idle is the subject
        await through(number)
    assert handler.state(0).totals["acme"] == 4
    await eventually(lambda: handler.ready and deriver.ready)
    assert any(entry.exc_info and entry.exc_info[0] is InvalidProducerIdMapping for entry in caplog.records), "no id had expired"
    assert broken(f"test.{topics.inbox}") > 0, "no id of the owner had expired"
    assert broken(f"test.{output}") > 0, "no id of the deriver had expired"
    for part in (deriver, handler, topics.appender):
        await part.stop()
