"""Reading the log: positions that step over control markers, ends, whole logs, tails. Always read_committed unless said otherwise."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from .ending import close, end
from .errors import LogTruncated, TopicMissing
from .record import Recorded, recorded
from .settings import KafkaSettings

Isolation = Literal["read_committed", "read_uncommitted"]
Start = Mapping[int, int] | Literal["earliest", "end"]

POLL_MS: Final = 200
BUFFER_RECORDS: Final = 4_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition that cover [start, next). next steps over control markers and aborted records, so it reaches the end."""

    topic: str
    partition: int
    records: tuple[Recorded, ...]
    start: int
    next: int

    def split(self, size: int) -> tuple[Batch, Batch | None]:
        """The first `size` records and the rest."""
        if len(self.records) <= size:
            return self, None
        cut = self.records[size].offset
        return (
            Batch(self.topic, self.partition, self.records[:size], self.start, cut),
            Batch(self.topic, self.partition, self.records[size:], cut, self.next),
        )


class Reader:
    """Tails partitions from given positions into bounded buffers, so that a batch forms while its consumer is busy with the last one.

    One aiokafka consumer by assignment: no group, no rebalance. A full buffer pauses its partition only.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        start: Mapping[TopicPartition, int],
        *,
        client_id: str,
        isolation: Isolation = "read_committed",
        buffer: int = BUFFER_RECORDS,
        max_wait_ms: int = 500,
        min_bytes: int = 1,
    ) -> None:
        """max_wait_ms, min_bytes: records come when there are so many bytes of them, or after so long: who is in no hurry, asks less."""
        self._kafka, self._start, self._buffer = kafka, dict(start), buffer
        self._client_id, self._isolation, self._max_wait_ms, self._min_bytes = client_id, isolation, max_wait_ms, min_bytes
        self._queues: dict[TopicPartition, deque[Batch]] = {tp: deque() for tp in start}
        self._held: dict[TopicPartition, int] = dict.fromkeys(start, 0)
        self._next: dict[TopicPartition, int] = dict(start)
        self._paused: set[TopicPartition] = set()
        self._arrived: dict[TopicPartition, asyncio.Event] = {tp: asyncio.Event() for tp in start}
        self._any = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._pump: asyncio.Task[None] | None = None
        self._error: Exception | None = None

    async def start(self) -> Self:
        consumer = consumer_of(self._kafka, self._client_id, self._isolation, max_wait_ms=self._max_wait_ms, min_bytes=self._min_bytes)
        self._consumer = consumer
        consumer.assign(list(self._start))
        await consumer.start()
        for where, offset in self._start.items():
            consumer.seek(where, offset)
        self._pump = asyncio.create_task(self._run(consumer), name=f"reader:{self._client_id}")
        return self

    async def stop(self) -> None:
        """Never raises what the client raises."""
        await end(self._pump)
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close(consumer.stop(), self._client_id)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def take(self, where: TopicPartition, limit: int, timeout: float | None = None) -> Batch | None:
        """Everything that has arrived in one partition, at most `limit` records; None when nothing did within `timeout` seconds.

        A batch without records only moves the position. Raises: what ended the reading (LogTruncated, KafkaError).
        """
        event = self._arrived[where]
        if not self._queues[where]:
            event.clear()
            self._check()
            try:
                async with asyncio.timeout(timeout):
                    await event.wait()
            except TimeoutError:
                return None
            self._check()
        return self._pop(where, limit)

    async def take_any(self, limit: int, timeout: float | None = None) -> list[Batch]:
        """What has arrived in all partitions, together about `limit` records, in turn; empty when nothing did within `timeout` seconds."""
        if not any(self._queues.values()):
            self._any.clear()
            self._check()
            try:
                async with asyncio.timeout(timeout):
                    await self._any.wait()
            except TimeoutError:
                return []
            self._check()
        found: list[Batch] = []
        waiting = [tp for tp, queue in self._queues.items() if queue]
        share = max(1, limit // max(1, len(waiting)))
        for where in waiting:
            batch = self._pop(where, share)
            if batch is not None:
                found.append(batch)
        return found

    def wake(self) -> None:
        """Lets a `take_any` under way return now, with what there is."""
        self._any.set()

    def end(self, where: TopicPartition) -> int | None:
        """The last known end (read_committed: last stable offset) of a partition; None before the first fetch."""
        if self._consumer is None:
            return None
        known = self._consumer.last_stable_offset(where) if self._isolation == "read_committed" else self._consumer.highwater(where)
        return None if known is None or known < 0 else int(known)

    def _pop(self, where: TopicPartition, limit: int) -> Batch | None:
        queue = self._queues[where]
        if not queue:
            return None
        taken: list[Batch] = []
        room = limit
        while queue and (room > 0 or not queue[0].records):
            head, rest = queue.popleft().split(max(room, 1))
            taken.append(head)
            room -= len(head.records)
            if rest is not None:
                queue.appendleft(rest)
                break
        records = tuple(record for batch in taken for record in batch.records)
        self._held[where] -= len(records)
        if where in self._paused and self._held[where] < self._buffer // 2 and self._consumer is not None:
            self._paused.discard(where)
            self._consumer.resume(where)
        return Batch(where.topic, where.partition, records, taken[0].start, taken[-1].next)

    async def _run(self, consumer: AIOKafkaConsumer) -> None:
        try:
            while True:
                fetched = await consumer.getmany(timeout_ms=POLL_MS)
                for where in self._queues:
                    # a position may move without records: over markers and aborted transactions
                    after = await consumer.position(where)
                    if after == self._next[where]:
                        continue
                    self._put(consumer, where, tuple(recorded(raw) for raw in fetched.get(where, ())), after)
        except asyncio.CancelledError:
            raise
        except OffsetOutOfRangeError as error:
            self._fail(LogTruncated(f"{error.args[0] if error.args else error}: the log does not hold this position (any more)"))
        except Exception as error:
            self._fail(error)

    def _put(self, consumer: AIOKafkaConsumer, where: TopicPartition, records: tuple[Recorded, ...], after: int) -> None:
        self._queues[where].append(Batch(where.topic, where.partition, records, self._next[where], after))
        self._next[where] = after
        self._held[where] += len(records)
        if self._held[where] >= self._buffer and where not in self._paused:
            self._paused.add(where)
            consumer.pause(where)
        self._arrived[where].set()
        self._any.set()

    def _fail(self, error: Exception) -> None:
        self._error = error
        for event in (*self._arrived.values(), self._any):
            event.set()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


def consumer_of(
    kafka: KafkaSettings,
    client_id: str,
    isolation: Isolation = "read_committed",
    *,
    group: str | None = None,
    max_wait_ms: int = 500,
    min_bytes: int = 1,
) -> AIOKafkaConsumer:
    """An aiokafka consumer that loses nothing by default: no auto commit, no jump to the latest record."""
    return AIOKafkaConsumer(
        **kafka.client(),
        client_id=client_id,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level=isolation,
        fetch_max_wait_ms=max_wait_ms,
        fetch_min_bytes=min_bytes,
        request_timeout_ms=10_000,
        retry_backoff_ms=50,
    )


async def partition_count(kafka: KafkaSettings, topic: str) -> int:
    """Raises: TopicMissing."""
    async with Probe(kafka) as consumer:
        return len(await partitions_of(consumer, topic))


async def end_offsets(kafka: KafkaSettings, topic: str, isolation: Isolation = "read_committed") -> dict[int, int]:
    """The end of every partition: the last stable offset under read_committed, else the high watermark. Raises: TopicMissing."""
    async with Probe(kafka, isolation) as consumer:
        found = await consumer.end_offsets(await partitions_of(consumer, topic))
        return {tp.partition: offset for tp, offset in found.items()}


async def beginning_offsets(kafka: KafkaSettings, topic: str) -> dict[int, int]:
    """The first offset that retention left in every partition. Raises: TopicMissing."""
    async with Probe(kafka) as consumer:
        found = await consumer.beginning_offsets(await partitions_of(consumer, topic))
        return {tp.partition: offset for tp, offset in found.items()}


async def committed_offsets(kafka: KafkaSettings, group: str, where: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """The positions that a group holds; what it never committed is absent."""
    wanted = list(where)
    consumer = consumer_of(kafka, f"{group}.positions", group=group)
    try:
        consumer.assign(wanted)
        await consumer.start()
        found = {tp: await consumer.committed(tp) for tp in wanted}
        return {tp: offset for tp, offset in found.items() if offset is not None}
    finally:
        await close(consumer.stop(), f"{group}.positions")


async def read_all(
    kafka: KafkaSettings,
    topic: str,
    partitions: Iterable[int] | None = None,
    start: Start = "earliest",
    isolation: Isolation = "read_committed",
) -> AsyncIterator[Batch]:
    """Everything from `start` to the ends as they are at the call, batch by batch; the last `next` of a partition is at least its end."""
    positions, ends = await _resolve(kafka, topic, partitions, start, isolation)
    open_ = {tp for tp, offset in positions.items() if offset < ends[tp]}
    if not open_:
        return
    async with Reader(kafka, {tp: positions[tp] for tp in open_}, client_id=f"read.{topic}", isolation=isolation) as reader:
        while open_:
            for batch in await reader.take_any(BUFFER_RECORDS):
                where = TopicPartition(batch.topic, batch.partition)
                if batch.next >= ends[where]:
                    open_.discard(where)
                yield batch


async def tail(
    kafka: KafkaSettings,
    topic: str,
    partitions: Iterable[int] | None = None,
    start: Start = "earliest",
    isolation: Isolation = "read_committed",
) -> AsyncIterator[Batch]:
    """Everything from `start` on, for ever. `end`: only what comes after the call."""
    positions, _ = await _resolve(kafka, topic, partitions, start, isolation)
    async with Reader(kafka, positions, client_id=f"tail.{topic}", isolation=isolation) as reader:
        while True:
            for batch in await reader.take_any(BUFFER_RECORDS):
                yield batch


async def _resolve(
    kafka: KafkaSettings, topic: str, partitions: Iterable[int] | None, start: Start, isolation: Isolation
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    async with Probe(kafka, isolation) as consumer:
        wanted = [tp for tp in await partitions_of(consumer, topic) if partitions is None or tp.partition in set(partitions)]
        first, ends = await consumer.beginning_offsets(wanted), await consumer.end_offsets(wanted)
    if start == "end":
        return dict(ends), ends
    if start == "earliest":
        return dict(first), ends
    # a partition that the caller does not name begins at its first record
    return {tp: max(first[tp], start.get(tp.partition, 0)) for tp in wanted}, ends


class Probe:
    """A short-lived consumer for questions about a topic."""

    def __init__(self, kafka: KafkaSettings, isolation: Isolation = "read_committed") -> None:
        self._consumer = consumer_of(kafka, "probe", isolation)

    async def __aenter__(self) -> AIOKafkaConsumer:
        await self._consumer.start()
        return self._consumer

    async def __aexit__(self, *exc: object) -> None:
        await close(self._consumer.stop(), "probe")


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    client: Any = consumer._client
    metadata = await client.fetch_all_metadata()
    known = metadata.partitions_for_topic(topic)
    if not known:
        raise TopicMissing(
            f"topic {topic} does not exist, or this principal may not see it; contracts/topics.yaml lists the product's topics"
        )
    # else the first question about its offsets meets no leader, and waits for a retry
    await client.add_topic(topic)
    return [TopicPartition(topic, partition) for partition in sorted(known)]
