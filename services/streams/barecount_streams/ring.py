"""The newest changes of one partition in memory, bounded by count and bytes, and what a client is sent of each."""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

from barecount_contracts import CloudEvent
from barecount_eventlog import Recorded

from . import metrics
from .domain.selection import Told

Seal = Callable[[str, int, int], str]
"""(tenant, partition, next offset) -> the cursor that a client gets."""


@dataclass(slots=True)
class Entry:
    """One change: what selections look at, and the texts of it, made once for all clients when the first one needs them."""

    partition: int
    offset: int
    told: Told
    text: str
    size: int
    cursor: str | None = field(default=None, repr=False)
    frame: bytes | None = field(default=None, repr=False)


def entry_of(record: Recorded) -> Entry:
    """Raises: EnvelopeError when the record is not a CloudEvent."""
    event: CloudEvent = record.cloud_event
    data = event.data
    told = Told(event.tenant, event.type, str(data.get("kind")), data.get("pipeline"), data.get("run_id"))
    text = json.dumps(event.structured(), separators=(",", ":"), ensure_ascii=False)
    # the texts that are made later are about as long as this one
    return Entry(record.partition, record.offset, told, text, 3 * len(text))


class Ring:
    """Holds every change of [floor, next). One writer (the hub); any number of readers, each with its own position."""

    def __init__(self, partition: int, start: int, *, records: int, size: int) -> None:
        self.partition, self.floor, self.next = partition, start, start
        self._records, self._size = records, size
        self._entries: list[Entry] = []
        self._offsets: list[int] = []
        self._held = 0
        self._moved = asyncio.Event()

    def put(self, entries: list[Entry], after: int) -> None:
        """The next entries; `after` is the position behind them, markers stepped over."""
        self._entries += entries
        self._offsets += [entry.offset for entry in entries]
        self._held += sum(entry.size for entry in entries)
        self.next = after
        self._trim()
        metrics.BUFFERED.labels(self.partition).set(len(self._entries))
        metrics.BUFFERED_BYTES.labels(self.partition).set(self._held)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def restart(self, start: int) -> None:
        """Forgets everything: the log goes on elsewhere."""
        self._entries, self._offsets, self._held = [], [], 0
        self.floor = start
        self.put([], start)

    def after(self, position: int, limit: int) -> tuple[list[Entry], int]:
        """At most `limit` changes from `position` (not below `floor`) on, and the position behind them."""
        first = bisect_left(self._offsets, position)
        found = self._entries[first : first + limit]
        more = first + len(found) < len(self._entries)
        return found, found[-1].offset + 1 if more else max(position, self.next)

    @property
    def moved(self) -> asyncio.Event:
        """Set at the next `put`; take it before looking, so that no change is missed."""
        return self._moved

    def _trim(self) -> None:
        drop = max(0, len(self._entries) - self._records)
        size = self._held - sum(entry.size for entry in self._entries[:drop])
        # the newest one stays, however large it is
        while size > self._size and drop < len(self._entries) - 1:
            size -= self._entries[drop].size
            drop += 1
        if drop:
            self.floor, self._held = self._offsets[drop - 1] + 1, size
            del self._entries[:drop]
            del self._offsets[:drop]
