"""The projector: every topic partition of a view set into rows exactly once, and read-your-writes on top."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog
from aiokafka import TopicPartition
from barecount_contracts import catalogue
from barecount_eventlog import KafkaSettings, LogReplaced, Reader, TopicMissing, beginning_offsets, end, end_offsets

from . import metrics
from .database import Database
from .errors import NotYetProjected, TokenError
from .origin import demand_same_model
from .parked import tell_parked
from .schema import quoted
from .token import Token
from .track import BACKOFF, Track, reached_of
from .view import View
from .waiting import Waiting

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Projector:
    """One asyncio task per (topic, partition) over one consumer. Shares its process with the HTTP that reads the rows.

    Rows and position commit in one PostgreSQL transaction, guarded by compare-and-set: a second projector of the same view set, or a
    zombie, changes nothing. No Kafka group, nothing is committed to Kafka.
    """

    def __init__(self, *, kafka: KafkaSettings, database: Database, service: str, views: Sequence[View], max_batch: int = 2000) -> None:
        self._kafka, self._database, self._service = kafka, database, service
        self._views, self._max_batch = tuple(views), max_batch
        self._tracks: dict[TopicPartition, Track] = {}
        self._reader: Reader | None = None
        self._goal: dict[TopicPartition, int] = {}
        self._caught_up = False
        self._waiting = Waiting()
        self._task: asyncio.Task[None] | None = None
        self._replaced: LogReplaced | None = None
        self._running = asyncio.Event()

    async def start(self) -> None:
        """Prepares the schema and starts; returns when every partition is being read (`ready` tells when it has caught up once).

        Raises: what the first attempt met (TopicMissing, LogReplaced, no PostgreSQL); later trouble is waited out.
        """
        await self._database.prepare(self._views)
        self._task = asyncio.create_task(self._run(), name=f"projector:{self._service}")
        started = asyncio.create_task(self._running.wait())
        await asyncio.wait({started, self._task}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """A batch under way is rolled back; it comes again at the next start."""
        await end(self._task)

    @property
    def failed(self) -> Exception | None:
        """What makes the rows those of another log; a person decides what is right (`LogReplaced`)."""
        return self._replaced

    @property
    def ready(self) -> bool:
        """Caught up once since the start, the log is being read, and no partition stands at an error."""
        if not self._caught_up and self._tracks:
            self._caught_up = all(track.next >= self._goal[where] for where, track in self._tracks.items())
        return self._caught_up and self._reader is not None and not self.standing()

    def standing(self) -> dict[tuple[str, int], Exception]:
        """The partitions that stand at an error, and the error."""
        return {(w.topic, w.partition): t.standing for w, t in self._tracks.items() if t.standing is not None}

    def lag(self) -> dict[tuple[str, int], int]:
        """Records not projected yet, by (topic, partition)."""
        found = {}
        for where, track in self._tracks.items():
            end = self._reader.end(where) if self._reader else None
            found[where.topic, where.partition] = max(0, (end if end is not None else self._goal[where]) - track.next)
        return found

    async def wait(self, token: Token, timeout: float) -> None:
        """Until everything that the token names is projected.

        An inbox position means the outcome of that command, an events position that event.
        Raises: NotYetProjected after `timeout` seconds; TokenError `token-foreign` for a topic that does not exist here,
        `token-future` for a position beyond the log's end.
        """
        started = time.perf_counter()
        wanted: dict[tuple[str, int], int] = {}
        for topic, partition, offset in token.positions:
            wanted[topic, partition] = max(offset, wanted.get((topic, partition), -1))
        try:
            await self._waiting.positions(wanted, timeout)
        except NotYetProjected as error:
            metrics.WAIT_FAILED.labels(service=self._service).inc()
            await self._explain(error)
            raise
        finally:
            metrics.WAIT_SECONDS.labels(service=self._service).observe(time.perf_counter() - started)

    async def until(self, check: Callable[[], Awaitable[T | None]], timeout: float) -> T | None:
        """Runs `check` now and after every committed batch until it answers; None when it did not within `timeout` seconds."""
        return await self._waiting.until(check, timeout)

    def position(self) -> dict[tuple[str, int], int]:
        """What is projected: (topic, partition) -> next offset; inboxes are named by their outcomes."""
        return dict(self._waiting.reached)

    async def _explain(self, error: NotYetProjected) -> None:
        """A position that the log does not have will never be projected: say so instead of asking to come again."""
        for (topic, partition), offset in error.missing.items():
            try:
                end = (await asyncio.wait_for(end_offsets(self._kafka, topic, "read_uncommitted"), 2)).get(partition)
            except TopicMissing as unknown:
                if topic in catalogue().topics:
                    # another service's inbox: the broker hides from this one that it is there, and its outcomes come all the same
                    continue
                raise TokenError("token-foreign", f"{topic} is no topic of this installation") from unknown
            except Exception as unknown:
                log.info("token-not-explained", topic=topic, error=repr(unknown))
                continue
            if end is None or offset >= end:
                raise TokenError("token-future", f"{topic}/{partition}@{offset} lies beyond the log's end") from error

    async def _run(self) -> None:
        backoff = BACKOFF[0]
        while True:
            started = time.monotonic()
            try:
                await self._open()
                await self._project()
            except Exception as error:
                if not self._running.is_set():
                    raise
                self._replaced = error if isinstance(error, LogReplaced) else None
                backoff = BACKOFF[0] if time.monotonic() - started > BACKOFF[1] else min(BACKOFF[1], backoff * 2)
                log.warning("projector-reopened", service=self._service, error=repr(error), retry_in=backoff)
                await asyncio.sleep(backoff)
            finally:
                reader, self._reader = self._reader, None
                if reader is not None:
                    await reader.stop()

    async def _open(self) -> None:
        """Positions from PostgreSQL, ends from Kafka, one reader for all partitions."""
        topics = sorted({topic for view in self._views for topic in view.TOPICS})
        cluster = await demand_same_model(self._kafka, self._database, self._service)
        first: dict[TopicPartition, int] = {}
        goal: dict[TopicPartition, int] = {}
        for topic in topics:
            first |= {TopicPartition(topic, p): offset for p, offset in (await beginning_offsets(self._kafka, topic)).items()}
            goal |= {TopicPartition(topic, p): offset for p, offset in (await end_offsets(self._kafka, topic)).items()}
        held = await self._positions(list(first), cluster)
        await tell_parked(self._database)
        self._goal = goal
        self._tracks = {
            where: Track(where, next_, database=self._database, views=self._views, max_batch=self._max_batch, advance=self._waiting.advance)
            for where, next_ in held.items()
        }
        start = {where: self._begin(where, next_, first[where]) for where, next_ in held.items()}
        reader = Reader(self._kafka, start, client_id=f"{self._service}.projector", buffer=2 * self._max_batch)
        await reader.start()
        self._reader, self._replaced = reader, None
        self._running.set()

    def _begin(self, where: TopicPartition, next_: int, first: int) -> int:
        if 0 < next_ < first:
            log.error(
                "records-lost-to-retention", service=self._service, topic=where.topic, partition=where.partition, missing=[next_, first]
            )
        return max(next_, first)

    async def _positions(self, wanted: Sequence[TopicPartition], cluster: str) -> dict[TopicPartition, int]:
        """The rows of projection_positions, made where they are missing; what they say about inboxes is told to the waiting."""
        table = f"{quoted(self._database.schema or '')}.projection_positions"
        async with self._database.pool.acquire() as conn:
            known = {(row["topic"], row["partition"]) for row in await conn.fetch(f"SELECT topic, partition FROM {table}")}
            # only what is missing: an INSERT would wait for whoever is moving an existing row
            await conn.executemany(
                f"INSERT INTO {table} (topic, partition, next_offset, cluster) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING",
                [(where.topic, where.partition, cluster) for where in wanted if (where.topic, where.partition) not in known],
            )
            rows = await conn.fetch(f"SELECT * FROM {table}")
        held = {TopicPartition(row["topic"], row["partition"]): int(row["next_offset"]) for row in rows}
        for row in rows:
            self._waiting.advance(reached_of(row))
        return {where: held[where] for where in wanted}

    async def _project(self) -> None:
        assert self._reader is not None
        tasks = {
            asyncio.create_task(track.run(self._reader), name=f"track:{where.topic}.{where.partition}")
            for where, track in self._tracks.items()
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
