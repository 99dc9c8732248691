"""All of one partition, from a position to the end, as a restore wants it: nothing is made of a record but what a state is made from.

A `Reader` makes a whole `Recorded` of every record and holds thousands of them for whoever is busy; a restore waits for nothing else, so it
reads a record, drops it, and takes the next while the memory of the last is still in the processor's cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from barecount_contracts import Heading, Position, read

from .ending import close
from .errors import LogTruncated
from .reader import POLL_MS, consumer_of, partitions_of
from .settings import KafkaSettings

# some 10 ms of work, after which everything else on the loop gets its turn
STRETCH_RECORDS: Final = 500


class Replayed(NamedTuple):
    """A record of the log that is replayed. A tuple, because one is made for every event."""

    where: TopicPartition
    offset: int
    value: bytes

    @property
    def position(self) -> Position:
        return Position(topic=self.where.topic, partition=self.where.partition, offset=self.offset)

    def envelope(self) -> Heading:
        """The value with its payload; read each time. Raises: EnvelopeError `malformed-record`."""
        return read(self.value)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records that follow each other. next steps over control markers and aborted records, so the last one is at least the log's end."""

    records: Sequence[Replayed]
    next: int


async def replay(kafka: KafkaSettings, where: TopicPartition, start: int) -> AsyncGenerator[Stretch, None]:
    """What is committed in one partition from `start`, or the first record that retention left, to the end as it is at the call.

    Close it (`contextlib.aclosing`): it holds a consumer. Raises: TopicMissing, LogTruncated, KafkaError.
    """
    name = f"replay.{where.topic}.{where.partition}"
    consumer = consumer_of(kafka, name)
    try:
        await consumer.start()
        if where not in await partitions_of(consumer, where.topic):
            return
        first, ends = await consumer.beginning_offsets([where]), await consumer.end_offsets([where])
        async for stretch in _between(consumer, where, max(start, first[where]), ends[where]):
            yield stretch
    except OffsetOutOfRangeError as error:
        raise LogTruncated(f"{where.topic}/{where.partition} does not hold all from offset {start} (any more)") from error
    finally:
        await close(consumer.stop(), name)


async def _between(consumer: AIOKafkaConsumer, where: TopicPartition, position: int, end: int) -> AsyncGenerator[Stretch, None]:
    consumer.assign([where])
    consumer.seek(where, position)
    while position < end:
        fetched = await consumer.getmany(where, timeout_ms=POLL_MS, max_records=STRETCH_RECORDS)
        # a position may move without records: over markers and aborted transactions
        after = await consumer.position(where)
        if after == position:
            continue
        position = after
        yield Stretch([Replayed(where, raw.offset, raw.value or b"") for raw in fetched.get(where, ())], after)
        # a fetch holds many stretches, and taking one that is there lets nobody else in
        await asyncio.sleep(0)
