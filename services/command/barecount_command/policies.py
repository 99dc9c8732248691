"""The ledger covers it: what the evidence ledger proves about a replay request becomes a command for the inbox.

`control.events` is read in order. For every ReplayRequested the ends of `runs.events` are taken as they are then; when the signed
ledger covers them, its facts are appended as ReportLedgerFacts. Requests of one partition are reported in the order of the log, because
the handler keeps one high-water mark a source partition; the ends of a later request are never smaller, so no order is lost on waiting.
The position is committed within a second of a request's report, and between requests once a second: after a crash the newest come again,
and the handler knows the repetition.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from barecount_chassis import CommandBus, telemetry
from barecount_contracts import EnvelopeError, ReplayRequested, ReportLedgerFacts
from barecount_eventlog import Batch, KafkaSettings, Reader, Recorded, beginning_offsets, close, consumer_of, end, end_offsets

from . import metrics
from .adapters.ledger import LedgerFollower
from .domain.ledger import SOURCE
from .handler import EVENTS

GROUP: Final = "command.ledger-facts"
STALLED_SECONDS: Final = 10.0
# most events are no requests, and the ledger signs what a request waits for later than this
FETCH_MS: Final = 50
FETCH_BYTES: Final = 262_144
COMMIT_SECONDS: Final = 1.0
BACKOFF: Final = (0.2, 10.0)

Judged = Callable[[int, str, str], bool]
"""(partition, tenant, request id) -> whether the handler knows that this request's facts were judged already."""


@dataclass(slots=True)
class Waiting:
    """A request, the ends of runs.events that the ledger must cover first, and since when (monotonic seconds) it waits."""

    record: Recorded
    request: ReplayRequested
    ends: dict[int, int]
    since: float = field(default_factory=time.monotonic)


class LedgerPolicy:
    """Runs from `start` to `stop`. `failed`: what stopped it for good; trouble with Kafka is tried again."""

    def __init__(
        self, kafka: KafkaSettings, bus: CommandBus, *, judged: Judged, group: str = GROUP, stalled_seconds: float = STALLED_SECONDS
    ) -> None:
        self._kafka, self._bus, self._judged, self._group, self._stalled = kafka, bus, judged, group, stalled_seconds
        self._follower = LedgerFollower(kafka)
        self._queues: dict[int, deque[Waiting]] = {}
        self._read: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._commit_not_before = 0.0
        self._work = asyncio.Event()
        self._positions: AIOKafkaConsumer | None = None
        self._reader: Reader | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.failed: Exception | None = None
        metrics.OLDEST.set_function(self._oldest)

    async def start(self) -> None:
        """Reads the committed positions and begins; returns when both logs are being read."""
        self._positions = consumer_of(self._kafka, self._group, group=self._group)
        first = await beginning_offsets(self._kafka, EVENTS)
        self._positions.assign([TopicPartition(EVENTS, partition) for partition in first])
        await self._positions.start()
        for partition, begin in first.items():
            held = await self._positions.committed(TopicPartition(EVENTS, partition))
            self._read[partition] = self._committed[partition] = max(begin, held or 0)
            self._queues[partition] = deque()
        await self._follower.start(self._work.set)
        for name, work in (("requests", self._requests), ("reports", self._reports)):
            self._tasks.append(asyncio.create_task(self._forever(name, work), name=f"ledger-policy:{name}"))

    async def stop(self) -> None:
        self._stopping = True
        await end(*self._tasks)
        await self._follower.stop()
        if self._positions is not None:
            await close(self._positions.stop(), self._group)

    @property
    def ready(self) -> bool:
        """The ledger was read to its end once, and requests are being read."""
        return self._follower.caught_up and self._reader is not None

    def lag(self) -> dict[tuple[str, int], int]:
        """Records of control.events not read or not reported yet, by (topic, partition); and of the ledger not read yet."""
        found = dict(self._follower.lag())
        for partition in self._read:
            end = self._reader.end(TopicPartition(EVENTS, partition)) if self._reader else None
            found[EVENTS, partition] = max(0, (self._read[partition] if end is None else end) - self._passed(partition))
        return found

    async def _requests(self) -> None:
        """Reads control.events and queues what must be reported."""
        start = {TopicPartition(EVENTS, partition): offset for partition, offset in self._read.items()}
        async with Reader(self._kafka, start, client_id=f"{self._group}.in", max_wait_ms=FETCH_MS, min_bytes=FETCH_BYTES) as reader:
            self._reader = reader
            try:
                while not self._stopping:
                    await self._queue(await reader.take_any(1000))
            finally:
                self._reader = None

    async def _queue(self, batches: list[Batch]) -> None:
        asked = [record for batch in batches for record in batch.records if record.headers.get("type") == ReplayRequested.TYPE.encode()]
        # taken after the records were read: every end is at least what it was at the request
        ends = await end_offsets(self._kafka, SOURCE) if asked else {}
        for record in asked:
            try:
                request = record.payload
            except EnvelopeError as error:
                # it asks for nothing that can be read; the read model of this service parks it
                telemetry.logger().error(metrics.REQUEST_UNREADABLE, at=str(record.position), code=error.code, detail=error.detail)
                continue
            if not isinstance(request, ReplayRequested):
                continue
            if not self._judged(record.partition, record.envelope.tenant, request.request_id):
                self._queues[record.partition].append(Waiting(record, request, ends))
        for batch in batches:
            self._read[batch.partition] = batch.next
        metrics.WAITING.set(sum(len(queue) for queue in self._queues.values()))
        self._work.set()

    async def _reports(self) -> None:
        """Reports every request that the ledger covers; sleeps until the ledger or the requests move."""
        while not self._stopping:
            self._work.clear()
            for queue in self._queues.values():
                while queue and self._follower.answers(queue[0].ends):
                    await self._report(queue[0])
                    queue.popleft()
            metrics.WAITING.set(sum(len(queue) for queue in self._queues.values()))
            due = await self._commit()
            try:
                # not wait_for: in Python 3.11 it can lose a cancellation, and then `stop` waits for ever
                async with asyncio.timeout(self._stalled if due is None else due):
                    await self._work.wait()
            except TimeoutError:
                if due is None:
                    self._tell_stalled()

    async def _report(self, waiting: Waiting) -> None:
        event = waiting.record.envelope
        facts = await self._follower.facts(event.tenant, waiting.request.run_id)
        report = ReportLedgerFacts(request_id=waiting.request.request_id, facts=facts)
        with telemetry.tracer().start_as_current_span(metrics.SPAN_FACTS, context=telemetry.extract(waiting.record.headers)):
            await self._bus.derive(report, tenant=event.tenant, source=waiting.record.position, correlation=event.correlation)
        metrics.REPORTED.labels(str(facts.found).lower()).inc()
        telemetry.logger().info(
            metrics.FACTS_REPORTED,
            request_id=waiting.request.request_id,
            run_id=waiting.request.run_id,
            found=facts.found,
            tree_size=facts.tree_size,
            waited_seconds=round(time.monotonic() - waiting.since, 3),
        )

    async def _commit(self) -> float | None:
        """Commits what has moved, once a second; returns the seconds until that is due, None when nothing is."""
        assert self._positions is not None
        passed = {partition: self._passed(partition) for partition in self._read}
        moved = {TopicPartition(EVENTS, p): offset for p, offset in passed.items() if offset > self._committed[p]}
        if not moved:
            return None
        wait = self._commit_not_before - time.monotonic()
        if wait > 0:
            return wait
        await self._positions.commit(moved)
        self._committed.update({where.partition: offset for where, offset in moved.items()})
        self._commit_not_before = time.monotonic() + COMMIT_SECONDS
        return None

    def _passed(self, partition: int) -> int:
        """The position up to which nothing waits."""
        queue = self._queues[partition]
        return queue[0].record.offset if queue else self._read[partition]

    def _oldest(self) -> float:
        heads = [queue[0].since for queue in self._queues.values() if queue]
        return time.monotonic() - min(heads) if heads else 0.0

    def _tell_stalled(self) -> None:
        heads = [queue[0] for queue in self._queues.values() if queue]
        metrics.MISSING.set(sum(sum(self._follower.missing(head.ends).values()) for head in heads))
        for head in heads:
            telemetry.logger().warning(
                metrics.LEDGER_BEHIND,
                request_id=head.request.request_id,
                waited_seconds=round(time.monotonic() - head.since, 1),
                missing=self._follower.missing(head.ends),
                signed_size=self._follower.signed_size,
                leaves=self._follower.size,
            )

    async def _forever(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Kafka's trouble is waited out. What was read and not reported is read again: queues are rebuilt from the positions."""
        backoff = BACKOFF[0]
        while not self._stopping:
            started = time.monotonic()
            try:
                await work()
            except Exception as error:
                backoff = BACKOFF[0] if time.monotonic() - started > BACKOFF[1] else min(BACKOFF[1], backoff * 2)
                telemetry.logger().warning(metrics.POLICY_RETRY, part=name, error=repr(error), retry_in=backoff)
                await asyncio.sleep(backoff)
