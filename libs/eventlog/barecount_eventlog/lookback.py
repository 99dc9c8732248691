"""Single records of the log by their offsets, and what time it was at a position: for questions about the past."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from barecount_contracts import EnvelopeError

from .ending import close
from .errors import LogTruncated
from .reader import POLL_MS, consumer_of
from .record import Recorded, recorded
from .settings import KafkaSettings

# offsets this near to each other come in one fetch anyway
NEAR: Final = 200
READ_SECONDS: Final = 20.0
_FIRST_LOOK: Final = 64
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class Lookback:
    """One short-lived consumer without a group, read_committed. Use it as a context, from one task. topics: those that are asked about."""

    def __init__(self, kafka: KafkaSettings, topics: Iterable[str], client_id: str) -> None:
        self._topics = set(topics)
        self._consumer: AIOKafkaConsumer = consumer_of(kafka, client_id, max_wait_ms=100)

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
            client: Any = self._consumer._client
            # else every first question about a topic meets no leader and waits for a retry; and aiokafka's stop fails with CancelledError
            # while a task that its start created has not run once
            await client.set_topics(self._topics)
        except BaseException:
            # nobody else would: its connection and its tasks would stay for the life of the process
            await close(self._consumer.stop(), "lookback")
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await close(self._consumer.stop(), "lookback")

    async def ends(self, where: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The last stable offsets."""
        found: dict[TopicPartition, int] = await self._consumer.end_offsets(list(where))
        return found

    async def after(self, where: Iterable[TopicPartition], time: datetime) -> dict[TopicPartition, int | None]:
        """The first offset that the broker stamped later than an instant; None where there is none yet. Kafka's times are milliseconds."""
        later = (time - _EPOCH) // _MILLISECOND + 1
        found = await self._consumer.offsets_for_times({one: max(0, later) for one in where})
        return {one: None if at is None else int(at.offset) for one, at in found.items()}

    async def time_at(self, where: TopicPartition, offset: int) -> datetime | None:
        """The time of the last event at or before an offset, as its envelope has it; None when nothing stands there.

        A position may be a control marker's: then the event before it counts. Looks back twice as far each time.
        """
        first = (await self._consumer.beginning_offsets([where]))[where]
        back = _FIRST_LOOK
        # not the offset alone: a partition's end is a marker
        start = max(first, offset - back)
        while offset >= first:
            for record in reversed(await self._range(where, start, offset)):
                try:
                    return record.envelope.time
                except EnvelopeError:
                    continue
            if start == first:
                break
            start, back = max(first, offset - back), back * 4
        return None

    async def records(self, where: TopicPartition, offsets: Sequence[int]) -> list[Recorded]:
        """The records at exactly these offsets, in order.

        Raises: LogTruncated naming the first that the log does not hold; TimeoutError when the broker takes longer than 20 s.
        """
        wanted, found = sorted(set(offsets)), dict[int, Recorded]()
        for first, last in near(wanted):
            found |= {record.offset: record for record in await self._range(where, first, last)}
        missing = next((offset for offset in wanted if offset not in found), None)
        if missing is not None:
            raise LogTruncated(f"{where.topic}/{where.partition}@{missing} was projected and is not in the log (any more)")
        return [found[offset] for offset in wanted]

    async def _range(self, where: TopicPartition, first: int, last: int) -> list[Recorded]:
        consumer, found = self._consumer, list[Recorded]()
        if where not in consumer.assignment():
            consumer.assign([where])
        consumer.seek(where, first)
        consumer.resume(where)
        try:
            async with asyncio.timeout(READ_SECONDS):
                # the position steps over control markers and aborted records, so it passes the last offset
                while await consumer.position(where) <= last:
                    fetched = await consumer.getmany(where, timeout_ms=POLL_MS)
                    found += [recorded(raw) for raw in fetched.get(where, ()) if raw.offset <= last]
        except OffsetOutOfRangeError as error:
            raise LogTruncated(f"{where.topic}/{where.partition} does not hold offset {first} (any more)") from error
        finally:
            # else it fetches what comes after, and at the log's end all else on the connection waits behind that fetch
            consumer.pause(where)
        return found


def near(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending offsets as (first, last) of the stretches that are read at once."""
    spans: list[tuple[int, int]] = []
    for offset in offsets:
        if spans and offset - spans[-1][1] <= NEAR:
            spans[-1] = (spans[-1][0], offset)
        else:
            spans.append((offset, offset))
    return spans
