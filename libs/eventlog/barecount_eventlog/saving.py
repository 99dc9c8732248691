"""When an owner's snapshot is written: every so many events, in the background, one at a time, and at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from . import metrics
from .snapshots import Snapshot, SnapshotStore

log = structlog.get_logger(__name__)


class Saving:
    """store: None keeps nothing. every: events. since: how many events are not in a snapshot yet; who commits adds to it."""

    def __init__(self, store: SnapshotStore | None, service: str, partition: int, every: int, labels: Mapping[str, str]) -> None:
        self._store, self._service, self._partition, self._every, self._labels = store, service, partition, every, labels
        self._under_way: asyncio.Task[None] | None = None
        self.since = 0

    def begin(self, snapshot: Callable[[], Callable[[], Snapshot]]) -> None:
        """Writes one in the background if it is time. snapshot: takes what there is now, to be made into bytes in a thread."""
        if self._store is None or self.since < self._every or (self._under_way and not self._under_way.done()):
            return
        self.since = 0
        # the state is immutable: it can be written while the next batch is decided
        self._under_way = asyncio.create_task(self._save(self._store, snapshot()), name="snapshot")

    async def finish(self, snapshot: Callable[[], Callable[[], Snapshot]]) -> None:
        """The one under way, and a last one when there is news."""
        if self._under_way is not None:
            await asyncio.gather(self._under_way, return_exceptions=True)
        if self._store is not None and self.since:
            await self._save(self._store, snapshot())

    async def _save(self, store: SnapshotStore, make: Callable[[], Snapshot]) -> None:
        try:
            snapshot = await asyncio.to_thread(make)
            await store.save(self._service, self._partition, snapshot)
            metrics.SNAPSHOT_BYTES.labels(**self._labels, partition=self._partition).set(len(snapshot.blob))
        except Exception as error:
            # a snapshot only shortens the next restore; without it the log is replayed
            log.warning("snapshot-not-saved", **self._labels, partition=self._partition, error=repr(error))
