"""A real broker refuses one record of a transaction: whichever it is and why, nothing of the transaction is ever committed."""

from __future__ import annotations

import random

import pytest
from aiokafka import TopicPartition
from barecount_eventlog import FencedWriter, KafkaSettings, OutRecord, WriterBroken, committed_offsets, read_all

from tests.integration.eventlog.kit import Topics, create_topics
from tests.support.servers import Kafka

PARTITIONS = 2
LARGE = random.Random(1).randbytes(50_000)


async def everything(kafka: KafkaSettings, names: list[str]) -> list[bytes]:
    return [record.value for name in names for batch in [b async for b in read_all(kafka, name)] for record in batch.records]


@pytest.mark.parametrize("refused", range(2 * PARTITIONS))
async def test_a_record_that_is_too_large_for_its_topic_takes_the_whole_transaction_with_it(topics: Topics, refused: int) -> None:
    """Two topics of two partitions, one record in each; the refused one is the first, one in the midst, or the last."""
    (wide,) = await create_topics(topics.kafka, "wide", partitions=PARTITIONS)
    (small,) = await create_topics(topics.kafka, "small", partitions=PARTITIONS, max_message_bytes="2000")
    names = [wide, small] if refused >= PARTITIONS else [small, wide]
    where, group = TopicPartition(topics.inbox, 0), f"{small}.group"
    records = [
        OutRecord("k", LARGE if number == refused else b"%d" % number, topic=names[number // PARTITIONS], partition=number % PARTITIONS)
        for number in range(2 * PARTITIONS)
    ]
    writer = FencedWriter(topics.kafka, small, group=group)
    await writer.open()
    with pytest.raises(WriterBroken):
        await writer.commit(records, {where: 7})
    assert await everything(topics.kafka, names) == []
    successor = FencedWriter(topics.kafka, small, group=group)
    await successor.open()
    await successor.commit([OutRecord("k", b"whole", topic=wide, partition=0)], {where: 1})
    await successor.close()
    assert await everything(topics.kafka, names) == [b"whole"]
    assert await committed_offsets(topics.kafka, group, [where]) == {where: 1}


async def test_a_refused_batch_between_two_good_ones_of_its_partition_commits_none(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barecount_eventlog.writer.MAX_BATCH_BYTES", 1_500)
    (small,) = await create_topics(topics.kafka, "small", max_message_bytes="2000")
    writer = FencedWriter(topics.kafka, small, group=f"{small}.group")
    await writer.open()
    # each fills a batch of its own
    values = [b"a" * 1_400, LARGE, b"c" * 1_400]
    with pytest.raises(WriterBroken):
        await writer.commit([OutRecord("k", value, topic=small, partition=0) for value in values], {})
    assert await everything(topics.kafka, [small]) == []


@pytest.mark.parametrize("forbidden", [0, 1, 2])
async def test_a_topic_that_the_writer_may_not_write_takes_the_whole_transaction_with_it(
    kafka: Kafka, topics: Topics, forbidden: int
) -> None:
    """The broker's authorizer is the one that refuses."""
    names = [kafka.topic("out") for _ in range(3)]
    for number, name in enumerate(names):
        kafka.allow("execution", name, *(("READ",) if number == forbidden else ("READ", "WRITE")))
    login = kafka.settings("execution")
    settings = KafkaSettings(kafka.bootstrap, "execution", login["sasl_plain_password"])
    kafka.furnish()
    writer = FencedWriter(settings, "execution.crash", group="execution.crash")
    await writer.open()
    with pytest.raises(WriterBroken):
        await writer.commit([OutRecord("k", b"%d" % number, topic=name, partition=0) for number, name in enumerate(names)], {})
    await writer.close()
    assert await everything(topics.kafka, names) == []
