"""The ledger as it stands in its log, followed live: what is signed and what is proven both come from here, never from what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from aiokafka import TopicPartition
from barecount_contracts import EnvelopeError, LedgerBatch, LedgerCheckpoint
from barecount_eventlog import KafkaSettings, Reader, Recorded, beginning_offsets
from barecount_transparency import VerifyingKey

from . import metrics
from .domain.ledger import Ledger, LedgerTampered

log = structlog.get_logger(__name__)

READ_AT_ONCE: Final = 2_000
RETRY_SECONDS: Final = 1.0


class Mirror:
    """Reads evidence.ledger from its beginning, under read_committed, and goes on for ever.

    `tampered` says what contradicts what; the mirror stands there, because nothing behind it can be believed. `grown` is called after every
    record taken.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, *, origin: str, key: VerifyingKey) -> None:
        self._kafka, self._topic = kafka, topic
        self.ledger = Ledger(origin, key)
        self.next = 0
        self.time = datetime.fromtimestamp(0, UTC)
        self.tampered: LedgerTampered | None = None
        self.grown: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="ledger-mirror")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def ready(self) -> bool:
        """Whether it goes on; a contradiction ends that for good."""
        return self.tampered is None

    @property
    def failed(self) -> Exception | None:
        return self.tampered

    async def reach(self, offset: int) -> None:
        """Returns when every ledger record before this offset is taken. Raises: LedgerTampered."""
        while True:
            if self.tampered is not None:
                raise self.tampered
            if self.next >= offset:
                return
            self._moved.clear()
            await self._moved.wait()

    async def covered(self, index: int, seconds: float) -> bool:
        """Waits until a published checkpoint covers the leaf; False when none does in time."""

        async def waited() -> None:
            while self.ledger.published is None or self.ledger.published.size <= index:
                self._moved.clear()
                await self._moved.wait()

        try:
            async with asyncio.timeout(seconds):
                await waited()
        except TimeoutError:
            return False
        return True

    async def _run(self) -> None:
        where = TopicPartition(self._topic, 0)
        while self.tampered is None:
            try:
                begin = (await beginning_offsets(self._kafka, self._topic))[0]
                if begin > self.next:
                    raise LedgerTampered(f"the ledger's log begins at offset {begin}: its beginning was removed")
                async with Reader(self._kafka, {where: self.next}, client_id="evidence.mirror") as reader:
                    while True:
                        batch = await reader.take(where, READ_AT_ONCE)
                        assert batch is not None
                        for record in batch.records:
                            self._take(record)
                            # a long ledger is read back beside the service's other work
                            await asyncio.sleep(0)
                        self.next = batch.next
                        self._moved.set()
            except LedgerTampered as error:
                self.tampered = error
                metrics.TAMPERED.set(1)
                log.critical("ledger-tampered", offset=self.next, leaves=self.ledger.tree.size, error=str(error))
                self._moved.set()
                self.grown()
            except Exception as error:
                log.warning("ledger-read-again", error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)  # back-off before the log is read again

    def _take(self, record: Recorded) -> None:
        if record.offset < self.next:
            return
        try:
            payload = record.payload
        except EnvelopeError as error:
            raise LedgerTampered(f"ledger offset {record.offset} is not a ledger record: {error.detail}") from error
        self.time = max(self.time, record.envelope.time)
        match payload:
            case LedgerBatch():
                self.ledger.append(payload)
                metrics.LEAVES.set(self.ledger.tree.size)
            case LedgerCheckpoint():
                metrics.PUBLISHED.set(self.ledger.publish(payload).size)
            case _:
                raise LedgerTampered(f"ledger offset {record.offset} is a {record.envelope.type}, which no ledger holds")
        self.next = record.offset + 1
        self._moved.set()
        self.grown()
