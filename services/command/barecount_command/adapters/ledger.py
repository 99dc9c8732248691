"""The ledger's log: followed from its beginning into a copy of the tree, and read again at one place for a proof."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from barecount_chassis import telemetry
from barecount_contracts import EnvelopeError, LedgerBatch, LedgerCheckpoint, LedgerFacts, Message
from barecount_eventlog import KafkaSettings, Reader, Recorded, beginning_offsets, close, consumer_of, end_offsets, recorded

from barecount_command import metrics
from barecount_command.domain.ledger import LedgerCopy, Place

TOPIC: Final = "evidence.ledger"
WHERE: Final = TopicPartition(TOPIC, 0)
LOOK_SECONDS: Final = 10.0
BACKOFF: Final = (0.2, 10.0)


class LedgerUnreadable(RuntimeError):
    """A place of the ledger's log did not give what was read there before."""


class LedgerFollower:
    """Keeps a `LedgerCopy` at the end of the log. `moved` is called after each batch of records."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._copy = LedgerCopy()
        self._next = 0
        self._goal = 0
        self._reader: Reader | None = None
        self._looker: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._moved: Callable[[], None] = lambda: None
        self._stopping = False

    async def start(self, moved: Callable[[], None]) -> None:
        self._moved = moved
        first, ends = await beginning_offsets(self._kafka, TOPIC), await end_offsets(self._kafka, TOPIC)
        self._next, self._goal = first[0], ends[0]
        self._looker = consumer_of(self._kafka, "command.ledger-look")
        self._looker.assign([WHERE])
        await self._looker.start()
        self._task = asyncio.create_task(self._run(), name="ledger-follower")

    async def stop(self) -> None:
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._looker is not None:
            await close(self._looker.stop(), "command.ledger-look")

    @property
    def caught_up(self) -> bool:
        """The end that the log had at the start has been reached."""
        return self._next >= self._goal and self._task is not None

    @property
    def size(self) -> int:
        return self._copy.tree.size

    @property
    def signed_size(self) -> int:
        return self._copy.signed_size

    def lag(self) -> dict[tuple[str, int], int]:
        end = self._reader.end(WHERE) if self._reader else None
        return {(TOPIC, 0): max(0, (self._goal if end is None else end) - self._next)}

    def answers(self, ends: Mapping[int, int]) -> bool:
        """Whether the facts of a request can be told: the signed ledger covers these ends, or it is broken and proves nothing."""
        return self._copy.broken is not None or (self.caught_up and self._copy.covers(ends))

    def missing(self, ends: Mapping[int, int]) -> dict[int, int]:
        return self._copy.missing(ends)

    async def facts(self, tenant: str, run_id: str) -> LedgerFacts:
        """What the ledger proves about a run. Raises: LedgerUnreadable, KafkaError; then ask again."""
        place = self._copy.end_of(tenant, run_id)
        leaf = await self._leaf(place) if place is not None and self._copy.broken is None else None
        return self._copy.facts(tenant, run_id, place, leaf)

    async def _leaf(self, place: Place) -> str:
        assert self._looker is not None
        self._looker.seek(WHERE, place.offset)
        async with asyncio.timeout(LOOK_SECONDS):
            raw = await self._looker.getone(WHERE)
        batch = recorded(raw).payload
        if raw.offset != place.offset or not isinstance(batch, LedgerBatch):
            raise LedgerUnreadable(f"{TOPIC}@{place.offset} is not the batch that was read there before")
        return batch.leaves[place.index - batch.first_index]

    async def _run(self) -> None:
        backoff = BACKOFF[0]
        while not self._stopping:
            started = time.monotonic()
            try:
                async with Reader(self._kafka, {WHERE: self._next}, client_id="command.ledger") as reader:
                    self._reader = reader
                    while not self._stopping:
                        batch = await reader.take(WHERE, 50)
                        if batch is not None:
                            await self._take(batch.records)
                            self._next = batch.next
                            self._moved()
            except Exception as error:
                backoff = BACKOFF[0] if time.monotonic() - started > BACKOFF[1] else min(BACKOFF[1], backoff * 2)
                telemetry.logger().warning(metrics.LEDGER_REOPENED, error=repr(error), retry_in=backoff)
                await asyncio.sleep(backoff)
            finally:
                self._reader = None

    async def _take(self, records: tuple[Recorded, ...]) -> None:
        for record in records:
            if record.offset >= self._next:
                self._apply(record)
                self._next = record.offset + 1
                # a record may hold a thousand leaves: HTTP and the handler share this loop
                await asyncio.sleep(0)

    def _apply(self, record: Recorded) -> None:
        whole = self._copy.broken is None
        try:
            payload: Message | None = record.payload
        except EnvelopeError as error:
            # nobody but evidence may write here: what follows proves nothing any more
            self._copy.unreadable(f"the record at offset {record.offset} cannot be read: {error.detail}")
            payload = None
        match payload:
            case LedgerBatch() as batch:
                self._copy.batch(batch, record.offset)
            case LedgerCheckpoint() as checkpoint:
                self._copy.checkpoint(checkpoint)
            case _:
                pass
        metrics.LEAVES.set(self._copy.tree.size)
        if whole and self._copy.broken is not None:
            metrics.BROKEN.set(1)
            telemetry.logger().error(metrics.LEDGER_BROKEN, why=self._copy.broken)
