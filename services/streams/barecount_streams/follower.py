"""One client's way through its tenant's partition: from the ring, or from the log until it has caught up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from aiokafka import TopicPartition
from barecount_eventlog import LogTruncated, Reader

from . import metrics
from .domain.cursor import Cursors, Place
from .domain.selection import Told
from .hub import Hub
from .ring import Entry

BATCH = 200

REASONS = {
    "retention": "the log no longer holds what came after your position",
    "generation": "the log was begun anew since you were last here",
    "log-replaced": "the log ends before your position: it was restored or begun anew",
}


@dataclass(frozen=True, slots=True)
class Gap:
    """Changes between two positions that nobody can have any more."""

    since: str
    to: str
    reason: str

    def data(self) -> dict[str, str]:
        return {"from": self.since, "to": self.to, "reason": self.reason, "detail": f"{REASONS[self.reason]}; load again what you show"}


@dataclass(frozen=True, slots=True)
class Taken:
    """What came since the last time: changes that the selection shows, or a gap, or nothing but time."""

    entries: tuple[Entry, ...] = ()
    gap: Gap | None = None


class Follower:
    """`position` is the next offset. Its tenant's partition alone is read, and `shows` decides about each change."""

    def __init__(self, hub: Hub, cursors: Cursors, tenant: str, shows: Callable[[Told], bool], position: int) -> None:
        self._hub, self._cursors, self._tenant, self._shows = hub, cursors, tenant, shows
        self.partition = hub.partition_of(tenant)
        self.position = position
        self._reader: Reader | None = None
        self._gap: Gap | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        hub: Hub,
        cursors: Cursors,
        tenant: str,
        shows: Callable[[Told], bool],
        *,
        cursor: str | None = None,
        since: datetime | None = None,
    ) -> Follower:
        """From a cursor, else from a time, else from now. Raises: BadCursor, KafkaError."""
        partition = hub.partition_of(tenant)
        found = cls(hub, cursors, tenant, shows, hub.ring(partition).next)
        if cursor is not None:
            await found._resume(cursor, cursors.open(tenant, cursor))
        elif since is not None:
            found.position = await hub.at(partition, since)
        return found

    @property
    def cursor(self) -> str:
        """Where this client stands; another text at each call."""
        return self._cursors.seal(self._tenant, Place(self._hub.generation, self.partition, self.position))

    def cursor_after(self, entry: Entry) -> str:
        """Where a client stands that has had this change; made once for all of them, because only one tenant is shown an entry."""
        if entry.cursor is None:
            entry.cursor = self._cursors.seal(self._tenant, Place(self._hub.generation, entry.partition, entry.offset + 1))
        return entry.cursor

    async def take(self, timeout: float) -> Taken:
        """What comes next, after at most about `timeout` seconds; the position has moved behind it. Raises: KafkaError."""
        if self._gap is not None:
            gap, self._gap = self._gap, None
            return Taken(gap=gap)
        try:
            async with asyncio.timeout(timeout):
                while True:
                    entries = await self._further()
                    shown = tuple(entry for entry in entries if self._shows(entry.told))
                    if shown:
                        return Taken(shown)
                    await asyncio.sleep(0)  # others are served between two batches that show this client nothing
        except TimeoutError:
            return Taken()
        except LogTruncated:
            await self.close()
            first, _ = await self._hub.bounds(self.partition)
            return Taken(gap=self._jump(first, "retention"))

    async def close(self) -> None:
        """Gives the catch-up reader back; returns when it has stopped."""
        self._give_back()
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _further(self) -> list[Entry]:
        ring = self._hub.ring(self.partition)
        if self.position < ring.floor:
            return await self._from_the_log()
        while True:
            moved = ring.moved
            if self.position < ring.floor:
                return []
            before = self.position
            entries, self.position = ring.after(before, BATCH)
            if entries or self.position != before:
                return entries
            await moved.wait()

    async def _from_the_log(self) -> list[Entry]:
        where = TopicPartition(self._hub.topic, self.partition)
        if self._reader is None:
            self._reader = await self._started()
        batch = await self._reader.take(where, BATCH)
        if batch is None:
            return []
        entries, self.position = self._hub.entries(batch), batch.next
        if self.position >= self._hub.ring(self.partition).floor:
            self._give_back()  # not awaited: a wait that is cancelled here would lose the entries
        return entries

    def _give_back(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            metrics.CATCHING_UP.dec()
            self._hub.catch_ups.release()
            ending = asyncio.create_task(reader.stop())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _started(self) -> Reader:
        await self._hub.catch_ups.acquire()
        reader = self._hub.catch_up(self.partition, self.position)
        try:
            await reader.start()
        except BaseException:
            self._hub.catch_ups.release()
            await reader.stop()
            raise
        metrics.CATCH_UPS.inc()
        metrics.CATCHING_UP.inc()
        return reader

    async def _resume(self, text: str, place: Place) -> None:
        self.position = place.next
        if place.generation != self._hub.generation or place.partition != self.partition:
            first, _ = await self._hub.bounds(self.partition)
            self._gap = self._jump(first, "generation", text)
        elif place.next > self._hub.ring(self.partition).next:
            # another process may have read farther than this one
            first, end = await self._hub.bounds(self.partition)
            if place.next > end:
                self._gap = self._jump(first, "log-replaced", text)

    def _jump(self, to: int, reason: str, since: str | None = None) -> Gap:
        before = since or self.cursor
        self.position = to
        metrics.GAPS.labels(reason).inc()
        return Gap(before, self.cursor, reason)
