"""The handler: one inbox in, one fenced writer a partition, exactly one outcome per inbox offset."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Generic, TypeVar

from .appender import Appender
from .decider import Decider, Gate, TickOf
from .errors import EventlogError, LogReplaced
from .judging import Judge
from .owner import Owner
from .place import FENCED_BACKOFF, Place
from .proofs import Prover
from .reader import partition_count
from .settings import KafkaSettings
from .snapshots import SnapshotStore
from .tracing import continued

S = TypeVar("S")

STOP_SECONDS = 20.0


class Handler(Generic[S]):
    """Runs a Decider over an inbox.

    partitions: the ones to own, None = all. tick: makes the command that says time has passed; without it deadlines are not watched.
    forgets: command types whose ids are not remembered, because the domain itself tells a repetition (heartbeats); Tick always is one.
    max_record_bytes: a longer inbox record is rejected unread. prover: finds out beside the owners what a command's bytes alone say;
    whoever made it stops it. fenced_backoff: first and longest pause in seconds after a fence.
    """

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        service: str,
        inbox: str,
        events: str,
        decider: Decider[S],
        gate: Gate[S],
        snapshots: SnapshotStore | None = None,
        partitions: Sequence[int] | None = None,
        max_batch: int = 500,
        idempotency_window: timedelta = timedelta(days=7),
        snapshot_every: int = 10_000,
        tick: TickOf | None = None,
        prover: Prover | None = None,
        forgets: Collection[str] = (),
        max_record_bytes: int = 1_048_576,
        max_event_bytes: int = 1_000_000,
        fenced_backoff: tuple[float, float] = FENCED_BACKOFF,
    ) -> None:
        self._kafka, self._service, self._inbox, self._events = kafka, service, inbox, events
        self._decider, self._gate, self._snapshots, self._wanted = decider, gate, snapshots, partitions
        self._max_batch, self._window, self._snapshot_every = max_batch, idempotency_window, snapshot_every
        self._tick, self._forgets, self._fenced_backoff = tick, forgets, fenced_backoff
        self._prover = prover
        self._max_record_bytes, self._max_event_bytes = max_record_bytes, max_event_bytes
        self._owners: dict[int, Owner[S]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._appender: Appender | None = None
        self._change = asyncio.Event()

    async def start(self) -> None:
        """Takes over every partition; returns when all are restored and reading, or when a bug stopped one (see `failed`).

        Raises: TopicMissing; LogReplaced when a snapshot is of another log; EventlogError when inbox and events differ in their partitions.
        """
        count = await self._counted()
        judge = Judge(
            inbox=self._inbox,
            events=self._events,
            partitions=count,
            decider=self._decider,
            gate=self._gate,
            window=self._window,
            forgets=self._forgets,
            max_record_bytes=self._max_record_bytes,
            max_event_bytes=self._max_event_bytes,
            trace=continued,
        )
        if self._tick is not None:
            self._appender = Appender(self._kafka, f"{self._service}.{self._inbox}.ticks")
            await self._appender.start()
        place = Place(
            self._kafka, self._service, self._inbox, self._events, count, self._max_batch, self._snapshot_every, self._fenced_backoff
        )
        for partition in self._wanted if self._wanted is not None else range(count):
            owner = Owner(
                place,
                partition,
                judge,
                self._decider,
                snapshots=self._snapshots,
                appender=self._appender,
                tick=self._tick,
                prover=self._prover,
                changed=self._change.set,
            )
            self._owners[partition] = owner
            self._tasks.append(asyncio.create_task(owner.run(), name=f"owner:{self._inbox}.{partition}"))
        while not (self.ready or self.failed or all(task.done() for task in self._tasks)):
            self._change.clear()
            await self._change.wait()
        failed = self.failed
        if isinstance(failed, LogReplaced):
            await self.stop()
            raise failed

    async def stop(self) -> None:
        """Finishes the transactions under way, writes snapshots and leaves the partitions."""
        for owner in self._owners.values():
            owner.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        for task in self._tasks:
            # a take-over that waits for a broker which is gone
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._appender is not None:
            await self._appender.stop()

    def state(self, partition: int) -> S:
        """The committed state of one partition; an immutable value."""
        return self._owners[partition].state.domain

    @property
    def ready(self) -> bool:
        """Every partition is owned, restored and being read."""
        return bool(self._owners) and all(owner.ready for owner in self._owners.values())

    @property
    def failed(self) -> Exception | None:
        """What stopped a partition for good: a bug in this release, with the record's position."""
        return next((owner.failed for owner in self._owners.values() if owner.failed is not None), None)

    def lag(self) -> dict[int, int]:
        """Inbox records without an outcome, by partition."""
        return {partition: owner.lag for partition, owner in self._owners.items()}

    async def _counted(self) -> int:
        inbox, events = await asyncio.gather(partition_count(self._kafka, self._inbox), partition_count(self._kafka, self._events))
        if inbox != events:
            raise EventlogError(
                f"{self._inbox} has {inbox} partitions and {self._events} has {events}; an inbox partition's outcomes stand in the same "
                f"partition of the events topic, so both need the same count (contracts/topics.yaml)"
            )
        return inbox
