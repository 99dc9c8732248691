"""The traps of reference/kafka-recipes.md §1.4, met by this code on a real broker."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.producer.sender import Sender
from barecount_eventlog import (
    AppendFailed,
    FencedWriter,
    Handler,
    OutRecord,
    Reader,
    WriterBroken,
    WriterFenced,
    committed_offsets,
    end_offsets,
    read_all,
)
from barecount_eventlog.handler import Owner
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.admin import AdminClient

from tests.integration.eventlog.counter import add, tick
from tests.integration.eventlog.kit import Topics, create_topics, drained, eventually, handler_of
from tests.support.servers import Kafka


def writer_of(topics: Topics, name: str = "w", **more: Any) -> FencedWriter:
    return FencedWriter(topics.kafka, f"{topics.events}.{name}", group=f"{topics.events}.group", **more)


def out(topics: Topics, value: bytes, partition: int = 0, topic: str | None = None) -> OutRecord:
    return OutRecord(key="k", value=value, topic=topic or topics.events, partition=partition)


async def values(topics: Topics, topic: str | None = None) -> list[bytes]:
    return [record.value async for batch in read_all(topics.kafka, topic or topics.events) for record in batch.records]


async def test_trap_1_one_refused_batch_commits_nothing_of_the_transaction(topics: Topics) -> None:
    (small,) = await create_topics(topics.kafka, "small", max_message_bytes="2000")
    position = {TopicPartition(topics.inbox, 0): 7}
    writer = writer_of(topics)
    await writer.open()
    incompressible = random.Random(1).randbytes(50_000)
    with pytest.raises(WriterBroken):
        await writer.commit([out(topics, b"half"), out(topics, incompressible, topic=small)], position)
    successor = writer_of(topics)
    await successor.open()
    await successor.commit([out(topics, b"whole")], position)
    await successor.close()
    assert await values(topics) == [b"whole"]
    assert await values(topics, small) == []
    assert await committed_offsets(topics.kafka, f"{topics.events}.group", position) == position


async def test_trap_2_a_writer_is_never_used_again_after_a_failure(topics: Topics) -> None:
    (small,) = await create_topics(topics.kafka, "small", max_message_bytes="2000")
    writer = writer_of(topics)
    await writer.open()
    with pytest.raises(WriterBroken):
        await writer.commit([out(topics, random.Random(1).randbytes(50_000), topic=small)], {})
    with pytest.raises(WriterBroken, match="is closed"):
        await writer.commit([out(topics, b"later")], {})


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_trap_3_a_fenced_writer_says_so_and_writes_nothing(topics: Topics, turns: int) -> None:
    zombie, successor = writer_of(topics), writer_of(topics)
    await zombie.open()
    for turn in range(turns):
        # whichever of its three producers has its turn, it is fenced
        await zombie.commit([out(topics, b"before %d" % turn)], {})
    await successor.open()
    with pytest.raises(WriterFenced):
        await zombie.commit([out(topics, b"zombie")], {TopicPartition(topics.inbox, 0): 99})
    await successor.commit([out(topics, b"successor")], {})
    await successor.close()
    assert await values(topics) == [b"before %d" % turn for turn in range(turns)] + [b"successor"]
    assert await committed_offsets(topics.kafka, f"{topics.events}.group", [TopicPartition(topics.inbox, 0)]) == {}


async def test_a_take_over_aborts_what_any_of_the_rotated_producers_left_open(topics: Topics) -> None:
    left = writer_of(topics)
    await left.open()
    producer: AIOKafkaProducer = left._producers[1]
    await producer.begin_transaction()
    await (await producer.send(topics.events, b"open", partition=0))
    successor = writer_of(topics)
    await successor.open()
    # after the fence the log stands still: the last stable offset is the end
    assert await end_offsets(topics.kafka, topics.events) == await end_offsets(topics.kafka, topics.events, "read_uncommitted")
    await successor.commit([out(topics, b"next")], {})
    await successor.close()
    await left.close()
    assert await values(topics) == [b"next"]


async def test_trap_5_a_cancelled_commit_is_waited_for(topics: Topics) -> None:
    writer = writer_of(topics)
    await writer.open()
    for delay in (0.0, 0.001, 0.003, 0.01):
        work = asyncio.create_task(writer.commit([out(topics, b"r%f" % delay)], {}))
        await asyncio.sleep(delay)
        work.cancel()
        # a commit that was faster than the cancellation is as good
        await asyncio.gather(work, return_exceptions=True)
    await writer.commit([out(topics, b"after")], {})
    await writer.close()
    found = await values(topics)
    assert found[-1] == b"after"
    assert found == sorted(set(found), key=found.index), "each at most once, in order"


async def test_trap_7_the_position_is_read_after_the_fence(topics: Topics) -> None:
    """A zombie commits between the successor's first thought and its fence: the successor must see that commit."""
    first = handler_of(topics)
    await first.start()
    await topics.appender.append(topics.inbox, "acme", add(1))
    await drained(first, topics)
    second = handler_of(topics)
    starting, count = asyncio.create_task(second.start()), 1
    # the first one decides and commits for as long as the second takes to fence it
    while not starting.done():
        await topics.appender.append(topics.inbox, "acme", add(1))
        count += 1
    await starting
    await drained(second, topics)
    await second.stop()
    await first.stop()
    assert [e.envelope.cause.offset for e in await topics.outcomes() if e.envelope.cause] == list(range(count))
    assert second.state(0).totals["acme"] == count


async def test_two_living_owners_do_not_fight_hot(topics: Topics) -> None:
    first, second = handler_of(topics, fenced_backoff=(60, 60)), handler_of(topics, fenced_backoff=(60, 60))
    await first.start()
    await second.start()
    await topics.appender.append(topics.inbox, "acme", add(1))
    await eventually(lambda: not first.ready)
    assert second.ready
    assert first.failed is None
    await drained(second, topics)
    await asyncio.wait_for(asyncio.gather(first.stop(), second.stop()), 10)
    assert len(await topics.outcomes()) == 1


async def test_a_fenced_owner_comes_back_when_the_other_is_gone(topics: Topics) -> None:
    first, second = handler_of(topics, fenced_backoff=(1, 2)), handler_of(topics, fenced_backoff=(60, 60))
    await first.start()
    await second.start()
    await second.stop()
    await topics.appender.append(topics.inbox, "acme", add(1))
    await eventually(lambda: not first.ready)
    await eventually(lambda: first.ready)
    await drained(first, topics)
    await first.stop()
    assert len(await topics.outcomes()) == 1


async def test_traps_13_and_15_an_unknown_error_is_a_new_take_over_that_repeats_the_batch(topics: Topics) -> None:
    handler = handler_of(topics)
    await handler.start()
    await topics.appender.append(topics.inbox, "acme", add(1))
    await drained(handler, topics)
    owner: Owner[Any] = handler._owners[0]
    broken: list[Exception] = []
    real = FencedWriter._transact

    async def unknown(self: FencedWriter, *args: Any) -> Any:
        if not broken:
            broken.append(KafkaError("an error code that aiokafka does not know"))
            producer = self._producers[0]
            await producer.begin_transaction()
            await (await producer.send(topics.events, b"never committed", partition=0))
            raise broken[0]
        return await real(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FencedWriter, "_transact", unknown)
        await topics.appender.append(topics.inbox, "acme", add(2))
        await eventually(lambda: owner.state.books.inbox_next == 2)
    assert broken
    await handler.stop()
    assert [e.envelope.cause.offset for e in await topics.outcomes() if e.envelope.cause] == [0, 1]
    assert handler.state(0).totals["acme"] == 3


async def test_an_appender_whose_sender_died_goes_on_with_another(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka's sender ends at an error that it does not know, and its producer then takes nothing any more."""

    async def unknown(self: Sender, *given: Any) -> None:
        raise RuntimeError("an answer that aiokafka does not know")

    with monkeypatch.context() as patch:
        patch.setattr(Sender, "_send_produce_req", unknown)
        with pytest.raises(AppendFailed):
            await topics.appender.append(topics.inbox, "acme", add(1))
    await topics.appender.append(topics.inbox, "acme", add(2))


async def test_trap_14_a_writer_that_cannot_start_says_so(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: AIOKafkaProducer) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("barecount_eventlog.writer.START_SECONDS", 0.1)
    monkeypatch.setattr(AIOKafkaProducer, "start", never)
    with pytest.raises(WriterBroken, match="did not start"):
        await writer_of(topics).open()


async def test_trap_16_positions_step_over_markers_to_the_end(topics: Topics) -> None:
    writer = writer_of(topics)
    await writer.open()
    for n in range(5):
        await writer.commit([out(topics, b"%d" % n)], {})
    producer: AIOKafkaProducer = writer._producers[0]
    await producer.begin_transaction()
    await (await producer.send(topics.events, b"aborted", partition=0))
    await producer.abort_transaction()
    await writer.close()
    end = (await end_offsets(topics.kafka, topics.events))[0]
    assert end == 12
    batches = [batch async for batch in read_all(topics.kafka, topics.events)]
    assert [r.value for b in batches for r in b.records] == [b"%d" % n for n in range(5)]
    assert batches[-1].next == end
    where = TopicPartition(topics.events, 0)
    async with Reader(topics.kafka, {where: 0}, client_id="small-bites") as reader:
        covered = 0
        while covered < end:
            batch = await reader.take(where, 1, 5)
            assert batch is not None
            assert batch.start == covered, "no gap and no overlap between batches"
            covered = batch.next
    # nothing but markers: the position moves without a record
    only = [b async for b in read_all(topics.kafka, topics.events, [0], {0: 9})]
    assert [(b.records, b.next) for b in only] == [((), 12)]


async def test_trap_19_a_forgotten_group_position_costs_nothing(kafka: Kafka, topics: Topics) -> None:
    handler = handler_of(topics)
    await handler.start()
    for n in range(10):
        await topics.appender.append(topics.inbox, "acme", add(n))
    await drained(handler, topics)
    await handler.stop()
    group = f"test.{topics.inbox}"
    assert await committed_offsets(topics.kafka, group, [TopicPartition(topics.inbox, 0)])
    admin = AdminClient(kafka.librdkafka())
    admin.delete_consumer_groups([group])[group].result(30)
    assert await committed_offsets(topics.kafka, group, [TopicPartition(topics.inbox, 0)]) == {}
    await topics.appender.append(topics.inbox, "acme", add(100))
    again = handler_of(topics)
    await again.start()
    await drained(again, topics)
    await again.stop()
    assert [e.envelope.cause.offset for e in await topics.outcomes() if e.envelope.cause] == list(range(11))
    assert again.state(0).totals["acme"] == 145


async def test_trap_19_nor_does_it_when_the_decided_records_are_deleted_too(kafka: Kafka, topics: Topics) -> None:
    """Who began at the group's position would ask for records that are not there any more, for ever."""
    handler = handler_of(topics)
    await handler.start()
    for n in range(10):
        await topics.appender.append(topics.inbox, "acme", add(n))
    await drained(handler, topics)
    await handler.stop()
    group, inbox = f"test.{topics.inbox}", ConfluentPartition(topics.inbox, 0, 10)
    admin = AdminClient(kafka.librdkafka())
    admin.delete_consumer_groups([group])[group].result(30)
    admin.delete_records([inbox])[inbox].result(30)
    await topics.appender.append(topics.inbox, "acme", add(100))
    again = handler_of(topics)
    await again.start()
    await drained(again, topics)
    await again.stop()
    assert again.state(0).totals["acme"] == 145


async def test_a_log_that_lost_outcomes_is_not_decided_upon(topics: Topics) -> None:
    """A position that commits with its events cannot be ahead of them: somebody restored an older log."""
    await topics.appender.append(topics.inbox, "acme", add(1))
    writer = FencedWriter(topics.kafka, f"test.{topics.inbox}.0", group=f"test.{topics.inbox}")
    await writer.open()
    await writer.commit([], {TopicPartition(topics.inbox, 0): 1})
    await writer.close()
    handler: Handler[Any] = handler_of(topics)
    starting = asyncio.create_task(handler.start())
    done, _ = await asyncio.wait({starting}, timeout=2)
    assert not done
    assert not handler.ready
    await handler.stop()
    starting.cancel()
    assert await topics.outcomes() == []


async def test_a_tick_comes_only_when_it_is_due_and_only_one(topics: Topics) -> None:
    handler = handler_of(topics, tick=tick)
    await handler.start()
    await topics.appender.append(topics.inbox, "acme", add(1))
    await drained(handler, topics)
    await topics.appender.append(topics.inbox, "acme", add(2, alarm_in_ms=700))
    await eventually(lambda: handler.state(0).alarm is not None)
    alarm = handler.state(0).alarm
    await eventually(lambda: handler.state(0).alarm is None)
    assert alarm is not None
    assert datetime.now(UTC) >= alarm
    # another deadline gives a tick too many the time to be seen
    await topics.appender.append(topics.inbox, "acme", add(3, alarm_in_ms=500))
    await drained(handler, topics)
    await eventually(lambda: handler.state(0).alarm is None)
    await handler.stop()
    outcomes = [e.whole() for e in await topics.outcomes()]
    # before a deadline, and after it was met, there is no tick
    assert [e.type for e in outcomes] == ["NumberAdded", "NumberAdded", "AlarmRang", "NumberAdded", "AlarmRang"]
    assert timedelta(0) <= outcomes[2].time - alarm < timedelta(seconds=1)


async def test_ticks_reach_every_partition_under_a_key_of_its_own(topics: Topics) -> None:
    topics.inbox, topics.events = await create_topics(topics.kafka, "inbox", "events", partitions=3)
    handler = handler_of(topics, tick=tick)
    await handler.start()
    for tenant in ("a", "b", "c", "d", "e", "f", "g"):
        await topics.appender.append(topics.inbox, tenant, add(1, tenant=tenant, alarm_in_ms=50))
    await eventually(lambda: all(handler.state(p).alarm is None and handler.state(p).totals for p in range(3)))
    await handler.stop()
    kinds = [(e.partition, e.envelope.type) for e in await topics.outcomes()]
    assert not [k for k in kinds if k[1] == "RecordRejected"]
    assert {p for p, kind in kinds if kind == "AlarmRang"} == {0, 1, 2}


async def test_an_overdue_deadline_after_a_restart_ticks_at_once(topics: Topics) -> None:
    handler = handler_of(topics)
    await handler.start()
    await topics.appender.append(topics.inbox, "acme", add(2, alarm_in_ms=1))
    await drained(handler, topics)
    await handler.stop()
    again = handler_of(topics, tick=tick)
    await again.start()
    await eventually(lambda: again.state(0).alarm is None)
    await again.stop()
    assert (await topics.outcomes())[-1].envelope.type == "AlarmRang"
    assert [len(ids) for _, ids in again._owners[0].state.books.buckets] == [1], "the id of a tick is not remembered"
