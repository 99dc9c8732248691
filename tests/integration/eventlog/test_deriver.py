"""Many sources into one output, exactly once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from barecount_eventlog import CodeFault, Deriver, OutRecord, Recorded, end_offsets, read_all
from confluent_kafka.admin import AdminClient

from tests.integration.eventlog.kit import Topics, create_topics, eventually
from tests.support.servers import Kafka


class Copy:
    """Copies every record and remembers what it was told to cover."""

    def __init__(self) -> None:
        self.covered: dict[tuple[str, int], list[tuple[int, int]]] = {}
        self.raises: Exception | None = None
        self.committed: list[Mapping[int, int]] = []

    def __call__(self, batch: Sequence[Recorded], positions: Mapping[tuple[str, int], tuple[int, int]]) -> list[OutRecord]:
        if self.raises is not None:
            raise self.raises
        for where, span in positions.items():
            self.covered.setdefault(where, []).append(span)
        return [OutRecord("k", r.value, [("from", f"{r.topic}/{r.partition}/{r.offset}".encode())]) for r in batch]

    def next(self, where: tuple[str, int]) -> int:
        return self.covered[where][-1][1] if where in self.covered else 0


def deriver_of(topics: Topics, sources: Sequence[str], output: str, transform: Copy, **more: Any) -> Deriver:
    return Deriver(
        kafka=topics.kafka, service="test", name=output, sources=sources, output=output, output_partition=0, transform=transform, **more
    )


async def written(topics: Topics, output: str) -> list[str]:
    return [r.headers["from"].decode() async for b in read_all(topics.kafka, output) for r in b.records]


async def test_coverage_steps_over_control_markers_to_the_very_end(topics: Topics) -> None:
    source, output = await create_topics(topics.kafka, "source", "output")
    producer = AIOKafkaProducer(**topics.kafka.client(), transactional_id=source)
    await producer.start()
    for value, end in ((b"1", producer.commit_transaction), (b"no", producer.abort_transaction), (b"2", producer.commit_transaction)):
        await producer.begin_transaction()
        await (await producer.send(source, value, partition=0))
        await end()
    copy = Copy()
    deriver = deriver_of(topics, [source], output, copy, committed=copy.committed.append)
    await deriver.start()
    await eventually(lambda: copy.next((source, 0)) == 6)
    # an aborted transaction alone moves the end: it is covered too
    await producer.begin_transaction()
    await (await producer.send(source, b"no", partition=0))
    await producer.abort_transaction()
    await producer.stop()
    await eventually(lambda: copy.next((source, 0)) == 8)
    await eventually(lambda: deriver.lag() == {(source, 0): 0})
    await deriver.stop()
    assert await end_offsets(topics.kafka, source) == {0: 8}
    assert await written(topics, output) == [f"{source}/0/0", f"{source}/0/4"]
    assert copy.committed[0] == {0: 2}


async def test_a_restart_goes_on_where_it_was_even_when_the_group_is_forgotten(kafka: Kafka, topics: Topics) -> None:
    one, two, output = await create_topics(topics.kafka, "one", "two", "output")
    for round_ in range(3):
        for topic in (one, two):
            for n in range(5):
                await topics.appender.append_bytes(topic, "k", b"%d" % n)
        copy = Copy()
        deriver = deriver_of(topics, [one, two], output, copy)
        await deriver.start()
        goal = (round_ + 1) * 5
        await eventually(lambda copy=copy, goal=goal: copy.next((one, 0)) == goal and copy.next((two, 0)) == goal)  # type: ignore[misc]
        await deriver.stop()
        assert copy.covered[one, 0][0][0] == round_ * 5
        if round_ == 1:
            # trap 19: Kafka forgets the positions of an idle group after 7 days
            admin = AdminClient(kafka.librdkafka())
            admin.delete_consumer_groups([f"test.{output}"])[f"test.{output}"].result(30)
    found = await written(topics, output)
    assert sorted(found) == sorted(f"{topic}/0/{n}" for topic in (one, two) for n in range(15))


async def test_a_transform_that_raises_skips_nothing_and_is_seen(topics: Topics) -> None:
    source, output = await create_topics(topics.kafka, "source", "output")
    at = await topics.appender.append_bytes(source, "k", b"1")
    copy = Copy()
    copy.raises = RuntimeError("a bug")
    restored: list[int] = []

    async def restore() -> None:
        restored.append(1)

    deriver = deriver_of(topics, [source], output, copy, restore=restore)
    await deriver.start()
    await eventually(lambda: deriver.failed is not None)
    assert isinstance(deriver.failed, CodeFault)
    assert deriver.failed.position == at
    assert not deriver.ready
    copy.raises = None
    await eventually(lambda: deriver.ready, 25)
    await deriver.stop()
    assert await written(topics, output) == [f"{source}/0/0"]
    assert len(restored) == 2, "what a transform keeps is rebuilt after every take-over"


async def test_many_small_records_are_grouped_while_a_transaction_is_under_way(topics: Topics) -> None:
    source, output = await create_topics(topics.kafka, "source", "output")
    for n in range(300):
        await topics.appender._producer.send(source, b"%d" % n, key=b"k", partition=0)  # type: ignore[union-attr]
    copy = Copy()
    deriver = deriver_of(topics, [source], output, copy, max_batch=100, linger=0.02)
    await deriver.start()
    await eventually(lambda: copy.next((source, 0)) == 300)
    await deriver.stop()
    assert 3 <= len(copy.covered[source, 0]) <= 20
    assert len(await written(topics, output)) == 300


async def test_a_poke_writes_what_no_source_record_asks_for(topics: Topics) -> None:
    source, output = await create_topics(topics.kafka, "source", "output")
    said: list[bytes] = []

    class Talker(Copy):
        def __call__(self, batch: Sequence[Recorded], positions: Mapping[tuple[str, int], tuple[int, int]]) -> list[OutRecord]:
            said.append(b"poked")
            return [OutRecord("k", b"poked", [("from", b"nowhere")])]

    deriver = deriver_of(topics, [source], output, Talker())
    await deriver.start()
    deriver.poke()
    await eventually(lambda: len(said) == 1)
    await deriver.stop()
    assert await written(topics, output) == ["nowhere"]
