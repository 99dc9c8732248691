"""One topic partition into rows: batch, one PostgreSQL transaction, wake-ups after its commit; an error stands still and is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import asyncpg
import structlog
from aiokafka import TopicPartition
from barecount_contracts import EnvelopeError, bytes_digest
from barecount_eventlog import Batch, Mark, Reader, Recorded

from . import metrics
from .database import Database
from .errors import ProjectionTaken
from .parked import tell_parked
from .pipelined import Pipelined
from .readable import readable
from .schema import literal, quoted
from .view import Connection, View

BACKOFF = (0.2, 10.0)
Advance = Callable[[Mapping[tuple[str, int], int]], None]

log = structlog.get_logger(__name__)


class Track:
    """next: the position in PostgreSQL. standing: the error at which it stands, None while it moves."""

    def __init__(
        self, where: TopicPartition, next_: int, *, database: Database, views: Sequence[View], max_batch: int, advance: Advance
    ) -> None:
        self.where, self.next = where, next_
        self._database, self._max_batch, self._advance = database, max_batch, advance
        self._views = [view for view in views if where.topic in view.TOPICS]
        self._labels = {"service": database.service, "topic": where.topic}
        self.standing: Exception | None = None

    async def run(self, reader: Reader) -> None:
        """For ever. Raises: what ended the reader, and ProjectionTaken when another projector went back behind us."""
        while True:
            batch = await reader.take(self.where, self._max_batch, 5.0)
            if batch is not None:
                await self._apply_until_done(batch)
            end = reader.end(self.where)
            metrics.LAG.labels(**self._labels, partition=self.where.partition).set(max(0, end - self.next) if end is not None else 0)

    async def _apply_until_done(self, batch: Batch) -> None:
        """The batch stays here until it is committed: nothing is acknowledged past it and nothing has to be read again."""
        backoff = BACKOFF[0]
        standing = metrics.STANDING.labels(**self._labels, partition=self.where.partition)
        while batch.next > self.next:
            started = time.perf_counter()
            records = [record for record in batch.records if record.offset >= self.next]
            try:
                reached = await self.apply(records, batch.next)
            except ProjectionTaken:
                await self._look_again(batch)
                continue
            except Exception as error:
                self.standing = error
                standing.set(1)
                log.error(
                    "projection-stands",
                    **self._labels,
                    partition=self.where.partition,
                    first=records[0].offset if records else batch.start,
                    error=repr(error),
                    retry_in=backoff,
                    exc_info=not isinstance(error, (OSError, asyncpg.PostgresConnectionError)),
                )
                await asyncio.sleep(backoff)
                backoff = min(BACKOFF[1], backoff * 2)
                continue
            self.next, self.standing = batch.next, None
            standing.set(0)
            metrics.APPLIED.labels(**self._labels).inc(len(records))
            metrics.BATCH.labels(**self._labels).observe(len(records))
            metrics.APPLY_SECONDS.labels(**self._labels).observe(time.perf_counter() - started)
            self._advance(reached)

    async def apply(self, records: Sequence[Recorded], next_: int) -> dict[tuple[str, int], int]:
        """One transaction; what it reached, by (topic, partition). The caller moves `next`.

        The position first: a zombie blocks on that row, then finds it moved and changes nothing. Raises: ProjectionTaken then.
        """
        good, poison = _sorted_out(records)
        inbox = _inbox_next(good)
        newest = Mark.of(records[-1].offset, records[-1].value) if records else None
        assert self._database.schema is not None
        async with self._database.pool.acquire() as conn:
            try:
                await self._commit(conn, good, poison, self._moves(next_, inbox, newest))
            except BaseException:
                self._database.prepared.forget(conn)
                # a connection that is lost has rolled back by itself
                with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await conn.execute("ROLLBACK")
                raise
        if poison:
            await tell_parked(self._database)
        reached = {(self.where.topic, self.where.partition): next_}
        if inbox is not None:
            reached[inbox[0], inbox[1]] = inbox[2]
        return reached

    async def _commit(
        self,
        conn: Connection,
        good: Sequence[Recorded],
        poison: Sequence[tuple[Recorded, EnvelopeError]],
        moves: str,
    ) -> None:
        """Two round trips when no view asks for an answer: the transaction's beginning with the position, and the rows with the commit."""
        assert self._database.schema is not None
        # the face of a connection as far as views use it
        pipelined = Pipelined(conn, await self._database.prepared.on(conn), bare=self._database.bare)
        moved = await conn.execute(f"BEGIN; SET LOCAL search_path TO {quoted(self._database.schema)}; {moves}")
        if moved != "UPDATE 1":
            raise ProjectionTaken(f"{self.where.topic}/{self.where.partition} is no longer at {self.next}")
        if poison:
            await self._park(conn, poison)
        if good:
            for view in self._views:
                await view.apply(cast("Connection", pipelined), good)
        await pipelined.commit()

    def _moves(self, next_: int, inbox: tuple[str, int, int] | None, newest: Mark | None) -> str:
        """The statement that moves the position, if it is where we left it."""
        columns = [f"next_offset = {next_:d}", "applied_at = now()"]
        if inbox is not None:
            topic, partition, inbox_next = inbox
            columns += [f"inbox_topic = {literal(topic)}", f"inbox_partition = {partition:d}"]
            columns += [f"inbox_next = greatest({inbox_next:d}, inbox_next)"]
        if newest is not None:
            columns += [f"last_offset = {newest.offset:d}", f"last_digest = '\\x{newest.digest.hex()}'"]
        return (
            f"UPDATE projection_positions SET {', '.join(columns)} WHERE topic = {literal(self.where.topic)} "
            f"AND partition = {self.where.partition:d} AND next_offset = {self.next:d}"
        )

    async def _park(self, conn: Connection, poison: Sequence[tuple[Recorded, EnvelopeError]]) -> None:
        await conn.executemany(
            'INSERT INTO projection_errors (topic, partition, "offset", code, detail, digest, size) '
            "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            [
                (r.topic, r.partition, r.offset, error.code, error.detail.replace("\x00", ""), bytes_digest(r.value), len(r.value))
                for r, error in poison
            ],
        )
        for record, error in poison:
            metrics.PARKED.labels(**self._labels, code=error.code).inc()
            log.error(
                "record-parked", **self._labels, partition=record.partition, offset=record.offset, code=error.code, detail=error.detail
            )

    async def _look_again(self, batch: Batch) -> None:
        """Somebody else moved the position: go on from where it is."""
        assert self._database.schema is not None
        row = await self._database.pool.fetchrow(
            f"SELECT * FROM {quoted(self._database.schema)}.projection_positions WHERE topic = $1 AND partition = $2",
            self.where.topic,
            self.where.partition,
        )
        found = None if row is None else int(row["next_offset"])
        log.warning("projection-moved-by-another", **self._labels, partition=self.where.partition, ours=self.next, theirs=found)
        if row is None or found is None or found < batch.start:
            raise ProjectionTaken(f"{self.where.topic}/{self.where.partition} went back to {found}")
        self.next = found
        self._advance(reached_of(row))


def reached_of(row: asyncpg.Record) -> dict[tuple[str, int], int]:
    """What a row of projection_positions says is projected: of its topic, and of the inbox whose outcomes stand there."""
    reached = {(row["topic"], row["partition"]): int(row["next_offset"])}
    if row["inbox_topic"] is not None:
        reached[row["inbox_topic"], row["inbox_partition"]] = int(row["inbox_next"])
    return reached


def _sorted_out(records: Sequence[Recorded]) -> tuple[list[Recorded], list[tuple[Recorded, EnvelopeError]]]:
    found, poison = [], []
    for record in records:
        try:
            found.append(readable(record))
        except EnvelopeError as error:
            poison.append((record, error))
    return found, poison


def _inbox_next(records: Sequence[Recorded]) -> tuple[str, int, int] | None:
    """The inbox position whose outcomes are all in this batch or before: an owner answers its inbox in order."""
    for record in reversed(records):
        # CloudEvents answer no inbox
        cause = None if record.is_cloud_event else record.envelope.cause
        if cause is not None:
            return cause.topic, cause.partition, cause.offset + 1
    return None
