"""One reader of state.changes a process, whatever the number of clients: it fills the rings, clients read them at their own speed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

import structlog
from aiokafka import TopicPartition
from barecount_contracts import EnvelopeError, catalogue, partition_of
from barecount_eventlog import Batch, KafkaSettings, LogTruncated, Reader, beginning_offsets, close, consumer_of, end_offsets

from . import metrics
from .domain.changes import OUTPUT
from .ring import Entry, Ring, entry_of

log = structlog.get_logger(__name__)

BACKOFF = (0.2, 5.0)


class Hub:
    """records, size: bounds of each partition's ring. warm: how many of the newest records it begins with, so that clients who come
    back after a restart need no reader of their own. catch_ups: how many readers for clients behind the rings may run at once."""

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        topic: str = OUTPUT,
        records: int = 5_000,
        size: int = 16_000_000,
        warm: int = 2_000,
        catch_ups: int = 16,
    ) -> None:
        self.kafka, self.topic = kafka, topic
        self.generation = catalogue().generation
        self.catch_ups = asyncio.Semaphore(catch_ups)
        self._records, self._size, self._warm = records, size, warm
        self._rings: dict[int, Ring] = {}
        self._reader: Reader | None = None
        self._task: asyncio.Task[None] | None = None
        self.ready = False

    async def start(self) -> None:
        """Returns when the rings have positions; from then on every client can be served. Raises: TopicMissing, KafkaError."""
        first, ends = await beginning_offsets(self.kafka, self.topic), await end_offsets(self.kafka, self.topic)
        for partition, end in ends.items():
            start = max(first[partition], end - self._warm)
            self._rings[partition] = Ring(partition, start, records=self._records, size=self._size)
        self._task = asyncio.create_task(self._run(), name="stream-hub")
        self.ready = True

    async def stop(self) -> None:
        self.ready = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def lag(self) -> Mapping[tuple[str, int], int]:
        """Records of the log that are not in the rings yet."""
        if self._reader is None:
            return {}
        ends = {p: self._reader.end(TopicPartition(self.topic, p)) for p in self._rings}
        return {(self.topic, p): max(0, end - self._rings[p].next) for p, end in ends.items() if end is not None}

    def partition_of(self, tenant: str) -> int:
        return partition_of(tenant, len(self._rings))

    def ring(self, partition: int) -> Ring:
        return self._rings[partition]

    async def bounds(self, partition: int) -> tuple[int, int]:
        """The log's first offset and its end, as the broker has them now."""
        return (await beginning_offsets(self.kafka, self.topic))[partition], (await end_offsets(self.kafka, self.topic))[partition]

    async def at(self, partition: int, time: datetime) -> int:
        """The first record that the broker wrote at this time or later; the end when there is none."""
        where = TopicPartition(self.topic, partition)
        consumer = consumer_of(self.kafka, "streams.since")
        try:
            consumer.assign([where])
            await consumer.start()
            found = (await consumer.offsets_for_times({where: max(0, int(time.timestamp() * 1000))}))[where]
        finally:
            # it may raise a CancelledError of its own tasks: whoever asks would be left without an answer
            await close(consumer.stop(), "streams.since")
        return self.ring(partition).next if found is None else int(found.offset)

    def catch_up(self, partition: int, position: int) -> Reader:
        """A reader of its own for a client behind the ring; not started."""
        where = TopicPartition(self.topic, partition)
        return Reader(self.kafka, {where: position}, client_id="streams.catch-up", buffer=1_000)

    def entries(self, batch: Batch) -> list[Entry]:
        """What can be read of a batch; a foreign record is passed over, visibly."""
        found = []
        for record in batch.records:
            try:
                found.append(entry_of(record))
            except EnvelopeError as error:
                metrics.UNREADABLE.labels(record.topic).inc()
                log.error("change-unreadable", partition=record.partition, offset=record.offset, why=error.detail)
        return found

    async def _run(self) -> None:
        pause = 0.0
        while True:
            start = {TopicPartition(self.topic, partition): ring.next for partition, ring in self._rings.items()}
            try:
                async with Reader(self.kafka, start, client_id="streams.hub", max_wait_ms=100) as reader:
                    self._reader = reader
                    while True:
                        for batch in await reader.take_any(1_000):
                            self._rings[batch.partition].put(self.entries(batch), batch.next)
                            self.ready, pause = True, 0.0
            except LogTruncated as error:
                log.error("hub-behind-the-log", error=str(error))
                await self._rejoin()
            except Exception as error:
                log.warning("hub-reads-again", error=repr(error), retry_in=pause)
            self.ready, self._reader = False, None
            least, most = BACKOFF
            pause = min(most, max(least, pause * 2))
            await asyncio.sleep(pause)  # back-off; aiokafka has no event for "a broker answers again"

    async def _rejoin(self) -> None:
        """Rings whose position the log no longer holds go on at its first record; their clients are told of the gap."""
        try:
            first, ends = await beginning_offsets(self.kafka, self.topic), await end_offsets(self.kafka, self.topic)
        except Exception as error:
            log.warning("hub-knows-no-bounds", error=repr(error))
            return
        for partition, ring in self._rings.items():
            if not first[partition] <= ring.next <= ends[partition]:
                ring.restart(first[partition])
