"""What a restore reads: the committed records of a partition from a position to the very end, and no others."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from barecount_contracts import Position
from barecount_eventlog import KafkaSettings, LogTruncated, TopicMissing, end_offsets, read_all
from barecount_eventlog import replay as module
from barecount_eventlog.replay import Stretch, replay

from tests.integration.eventlog.kit import Topics


async def stretches(kafka: KafkaSettings, topic: str, start: int = 0) -> list[Stretch]:
    async with aclosing(replay(kafka, TopicPartition(topic, 0), start)) as found:
        return [stretch async for stretch in found]


async def some_transactions(topics: Topics) -> None:
    """Committed and aborted ones, of several sizes; the last is aborted, so that nothing but markers stand at the end."""
    producer = AIOKafkaProducer(**topics.kafka.client(), transactional_id=topics.events)
    await producer.start()
    for size in (3, 1, 4, 2, 5, 1, 2):
        for end in (producer.commit_transaction, producer.abort_transaction):
            await producer.begin_transaction()
            for n in range(size):
                await (await producer.send(topics.events, b"%d of %s" % (n, end.__name__.encode()), partition=0))
            await end()
    await producer.stop()


@pytest.mark.parametrize("size", [1, 2, 3, 500])
async def test_it_reads_exactly_what_is_committed_to_the_very_end(topics: Topics, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRETCH_RECORDS", size)
    await some_transactions(topics)
    end = (await end_offsets(topics.kafka, topics.events))[0]
    whole = [record for batch in [b async for b in read_all(topics.kafka, topics.events)] for record in batch.records]
    assert len(whole) == 18
    for start in (0, 1, 4, 19, end - 1, end, end + 5):
        found = await stretches(topics.kafka, topics.events, start)
        records = [record for stretch in found for record in stretch.records]
        assert [(r.position, r.value) for r in records] == [(r.position, r.value) for r in whole if r.offset >= start]
        assert max((len(stretch.records) for stretch in found), default=0) <= size
        assert [stretch.next for stretch in found] == sorted({stretch.next for stretch in found}), "each one leads further"
        assert found[-1].next == end if start < end else found == []


async def test_a_record_of_an_open_transaction_is_not_read_and_nobody_waits_for_it(topics: Topics) -> None:
    await topics.appender.append_bytes(topics.events, b"k", b"before")
    producer = AIOKafkaProducer(**topics.kafka.client(), transactional_id=topics.events)
    await producer.start()
    await producer.begin_transaction()
    await (await producer.send(topics.events, b"open", partition=0))
    (found,) = await stretches(topics.kafka, topics.events)
    assert ([record.value for record in found.records], found.next) == ([b"before"], 1)
    await producer.abort_transaction()
    await producer.stop()


async def test_it_begins_with_what_retention_left_and_says_when_more_goes_meanwhile(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STRETCH_RECORDS", 1)
    where = TopicPartition(topics.events, 0)
    for n in range(6):
        await topics.appender.append_bytes(topics.events, b"k", b"%d" % n)
    admin = AIOKafkaAdminClient(**topics.kafka.client())
    await admin.start()
    await admin.delete_records({where: RecordsToDelete(before_offset=2)})
    assert [record.value for stretch in await stretches(topics.kafka, topics.events) for record in stretch.records] == [
        b"2",
        b"3",
        b"4",
        b"5",
    ]

    async def first(consumer: object, partitions: object) -> dict[TopicPartition, int]:
        return {where: 0}

    # as it is when retention takes the first records after they were asked for
    monkeypatch.setattr("aiokafka.AIOKafkaConsumer.beginning_offsets", first)
    with pytest.raises(LogTruncated, match=f"{topics.events}/0 does not hold all from offset 1"):
        await stretches(topics.kafka, topics.events, 1)
    await admin.close()


async def test_a_topic_that_does_not_exist_is_named(topics: Topics) -> None:
    with pytest.raises(TopicMissing, match="no-such-log"):
        await stretches(topics.kafka, "no-such-log")


async def test_a_record_that_is_no_event_is_told_with_its_place(topics: Topics) -> None:
    at = await topics.appender.append_bytes(topics.events, b"k", b"rubbish")
    (found,) = await stretches(topics.kafka, topics.events)
    with pytest.raises(ValueError, match="not valid"):
        found.records[0].envelope()
    assert found.records[0].position == at == Position(topic=topics.events, partition=0, offset=0)
