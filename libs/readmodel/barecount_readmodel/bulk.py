"""Much of the log into a schema that nobody reads yet: every partition side by side, up to exact positions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import asyncpg
from aiokafka import TopicPartition
from barecount_eventlog import Batch, KafkaSettings, Reader, beginning_offsets, cluster_of, end_offsets

from .database import Database
from .errors import LogTooShort
from .schema import quoted
from .swap import analyze
from .track import Track
from .view import View

Positions = Mapping[TopicPartition, int]

BATCH: Final = 2_000
FETCH_MS: Final = 20
DEADLOCK_TRIES: Final = 5
# PostgreSQL keeps the plans that it made while the tables were empty, when one index looked as good as another, until it is told what is
# in them: an update by primary key went through all of a tenant's attempts, and a rebuild took four times as long. Told after so many
# records, and whenever there are four times as many
ANALYZED: Final = 5_000
# a log that brings nothing for so long does not hold what the live model has projected
STALLED_SECONDS: Final = 30.0


class Bulk:
    """Projects `database.schema`: look, then to. Stop it after use; `done` counts offsets, `retained` names what the log lost.

    only: of these partitions, whose positions stand in the schema already; else of all that the views want.
    """

    def __init__(
        self, kafka: KafkaSettings, database: Database, views: Sequence[View], only: Collection[TopicPartition] | None = None
    ) -> None:
        self._kafka, self.database, self._views = kafka, database, tuple(views)
        self._only = None if only is None else frozenset(only)
        self._tracks: dict[TopicPartition, Track] = {}
        self._rest: dict[TopicPartition, Batch | None] = {}
        self._reader: Reader | None = None
        self.first: dict[TopicPartition, int] = {}
        self.done = 0
        self._analyze_at = ANALYZED

    async def look(self) -> None:
        """Takes the positions from the schema; again when others have moved them, but before anything was read here.

        Raises: TopicMissing, KafkaError, asyncpg's errors.
        """
        assert self._reader is None
        for topic in sorted({topic for view in self._views for topic in view.TOPICS}):
            found = {TopicPartition(topic, p): offset for p, offset in (await beginning_offsets(self._kafka, topic)).items()}
            self.first |= {where: offset for where, offset in found.items() if self._only is None or where in self._only}
        held = await self._positions()
        self._tracks = {
            where: Track(where, next_, database=self.database, views=self._views, max_batch=BATCH, advance=lambda reached: None)
            for where, next_ in held.items()
        }
        self._rest = dict.fromkeys(held)

    async def stop(self) -> None:
        if self._reader is not None:
            await self._reader.stop()

    @property
    def unread(self) -> bool:
        """Whether it has only looked yet."""
        return self._reader is None

    @property
    def retained(self) -> dict[TopicPartition, int]:
        """The partitions whose first records retention took -> the first offset that is left."""
        return {where: offset for where, offset in self.first.items() if offset > 0}

    def positions(self) -> dict[TopicPartition, int]:
        return {where: track.next for where, track in self._tracks.items()}

    def left(self, goal: Positions) -> dict[TopicPartition, int]:
        """Offsets between here and the goal, by partition; without those that have reached it."""
        found = {where: next_ - max(self._tracks[where].next, self.first[where]) for where, next_ in goal.items() if where in self._tracks}
        return {where: count for where, count in found.items() if count > 0}

    async def ends(self) -> dict[TopicPartition, int]:
        """The log's ends now."""
        found: dict[TopicPartition, int] = {}
        for topic in sorted({where.topic for where in self._tracks}):
            found |= {TopicPartition(topic, p): offset for p, offset in (await end_offsets(self._kafka, topic)).items()}
        return found

    async def to(self, goal: Positions, report: Callable[[], None] = lambda: None) -> None:
        """Projects to exactly these positions; partitions already past theirs stay. report: called after every commit.

        Raises: LogTooShort; whatever a view raised: nothing here is tried again, the next rebuild starts anew.
        """
        ahead = {where: next_ for where, next_ in goal.items() if where in self._tracks and next_ > self._tracks[where].next}
        if self._reader is None:
            self._reader = await self._reading()
        try:
            async with asyncio.TaskGroup() as group:
                for where, next_ in ahead.items():
                    group.create_task(self._line(where, next_, report))
        except ExceptionGroup as several:
            # the first one ended the others. Not except*: before 3.11.4 what is raised in one is wrapped in a group again
            raise several.exceptions[0] from several

    async def _reading(self) -> Reader:
        begin = {where: max(track.next, self.first[where]) for where, track in self._tracks.items()}
        # a partition that was paused comes with the next fetch: one that waits for another partition's end would hold it up
        client = f"{self.database.service}.rebuild"
        return await Reader(self._kafka, begin, client_id=client, buffer=8 * BATCH, max_wait_ms=FETCH_MS).start()

    async def _line(self, where: TopicPartition, goal: int, report: Callable[[], None]) -> None:
        assert self._reader is not None
        track, moved = self._tracks[where], time.monotonic()
        if goal <= self.first[where]:
            # retention took all of it
            await self._apply(track, Batch(where.topic, where.partition, (), track.next, goal))
        while track.next < goal:
            batch = self._rest[where] or await self._reader.take(where, BATCH, 1.0)
            # kept until its rows are in: a swap that takes too long is ended in the midst of this, and tried again
            self._rest[where] = batch
            if batch is None:
                if time.monotonic() - moved > STALLED_SECONDS:
                    raise LogTooShort(
                        f"{where.topic}/{where.partition} brought nothing past {track.next} for {STALLED_SECONDS:g} s, "
                        f"but the live model stands at {goal}"
                    )
                continue
            now, rest = cut(batch, goal)
            await self._apply(track, now)
            self._rest[where] = rest
            moved = time.monotonic()
            report()

    async def _apply(self, track: Track, batch: Batch) -> None:
        if batch.next <= track.next:
            return
        records = [record for record in batch.records if record.offset >= track.next]
        for left in reversed(range(DEADLOCK_TRIES)):
            try:
                await track.apply(records, batch.next)
                break
            except asyncpg.DeadlockDetectedError:
                # two partitions write the same rows, each in its own order; PostgreSQL took this one's transaction back whole
                if not left:
                    raise
        self.done += batch.next - max(track.next, batch.start)
        track.next = batch.next
        if self.done >= self._analyze_at:
            self._analyze_at = 4 * self.done
            async with self.database.pool.acquire() as conn:
                await analyze(conn, self.database.schema or "")

    async def _positions(self) -> dict[TopicPartition, int]:
        table = f"{quoted(self.database.schema or '')}.projection_positions"
        cluster = await cluster_of(self._kafka) if self._only is None else None
        async with self.database.pool.acquire() as conn:
            if self._only is None:
                await conn.executemany(
                    f"INSERT INTO {table} (topic, partition, next_offset, cluster) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING",
                    [(where.topic, where.partition, cluster) for where in self.first],
                )
            rows = await conn.fetch(f"SELECT topic, partition, next_offset FROM {table}")
        held = {TopicPartition(row["topic"], row["partition"]): int(row["next_offset"]) for row in rows}
        return {where: held[where] for where in self.first}


def cut(batch: Batch, at: int) -> tuple[Batch, Batch | None]:
    """The batch up to an offset, and the rest of it."""
    if batch.next <= at:
        return batch, None
    before = tuple(record for record in batch.records if record.offset < at)
    after = tuple(record for record in batch.records if record.offset >= at)
    return Batch(batch.topic, batch.partition, before, batch.start, at), Batch(batch.topic, batch.partition, after, at, batch.next)
