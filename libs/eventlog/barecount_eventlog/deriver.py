"""N source topics in, one output topic out, exactly once: the records and the source positions commit in one transaction."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from aiokafka import TopicPartition
from barecount_contracts import Position

from . import metrics, positions
from .continuity import Held, demand_same_log
from .errors import CodeFault, LogReplaced, WriterFenced
from .owner import BACKOFF, SETTLED_SECONDS
from .place import FENCED_BACKOFF
from .reader import Batch, Reader, beginning_offsets, committed_offsets
from .record import OutRecord, Recorded
from .settings import KafkaSettings
from .writer import FencedWriter

log = structlog.get_logger(__name__)

Covered = Mapping[tuple[str, int], tuple[int, int]]
Transform = Callable[[Sequence[Recorded], Covered], Sequence[OutRecord] | Awaitable[Sequence[OutRecord]]]
Restore = Callable[[], Awaitable[None]]
Committed = Callable[[Mapping[int, int]], Awaitable[None] | None]


class Deriver:
    """Sole writer of `output`.

    transform(batch, positions): batch holds every source's new records (in offset order within a source partition); positions maps
    (topic, partition) to the covered [from, next), where next steps over control markers, so that it reaches the source's end. It is called
    again for the same input after a crash or a lost transaction, and with an empty batch when only markers went by or after `poke`.
    restore: awaited after the fence and before the first transform of every take-over: rebuild what transform keeps from the output log.
    A CodeFault that it raises makes the deriver stand, as one of transform does.
    committed: told after each commit the next offset by output partition; adopt here what the transform prepared.
    linger: seconds in which a batch may grow when fewer than `max_batch` records are there; 0 groups only what arrives during a commit.
    """

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        service: str,
        name: str,
        sources: Sequence[str],
        output: str,
        output_partition: int,
        transform: Transform,
        max_batch: int = 1000,
        linger: float = 0.0,
        restore: Restore | None = None,
        committed: Committed | None = None,
        fenced_backoff: tuple[float, float] = FENCED_BACKOFF,
    ) -> None:
        self._kafka, self._service, self._name, self._sources = kafka, service, name, tuple(sources)
        self._output, self._partition, self._transform = output, output_partition, transform
        self._max_batch, self._linger, self._restore, self._committed = max_batch, linger, restore, committed
        self._fenced_backoff = fenced_backoff
        self._group = f"{service}.{name}"
        self._labels = {"service": service, "name": name}
        self._next: dict[TopicPartition, int] = {}
        self._reader: Reader | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._change = asyncio.Event()
        self._poked = False
        self.ready = False
        self.failed: Exception | None = None

    async def start(self) -> None:
        """Returns when the output is taken over and the sources are being read, or when a bug stopped it (see `failed`).

        Raises: LogReplaced when the sources end before what was derived from them.
        """
        self._task = asyncio.create_task(self._run(), name=f"deriver:{self._group}")
        while not (self.ready or self.failed or self._task.done()):
            self._change.clear()
            await self._change.wait()
        failed = self.failed
        if isinstance(failed, LogReplaced):
            await self.stop()
            raise failed

    async def stop(self) -> None:
        """Finishes the transaction under way."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=20)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def poke(self) -> None:
        """Calls transform soon, with whatever has arrived or nothing: there is something to write that no source record asks for."""
        self._poked = True
        if self._reader is not None:
            self._reader.wake()

    @property
    def positions(self) -> dict[tuple[str, int], int]:
        """(topic, partition) -> the next source offset to be derived; in `restore` already the one from which this owner goes on."""
        return {(where.topic, where.partition): offset for where, offset in self._next.items()}

    def lag(self) -> dict[tuple[str, int], int]:
        """Source offsets not covered yet, by (topic, partition)."""
        if self._reader is None:
            return {}
        ends = {where: self._reader.end(where) for where in self._next}
        return {(w.topic, w.partition): max(0, end - self._next[w]) for w, end in ends.items() if end is not None}

    async def _run(self) -> None:
        backoff, fences = 0.0, 0
        while not self._stopping.is_set():
            owned_at = time.monotonic()
            writer = FencedWriter(self._kafka, f"{self._group}.{self._partition}", group=self._group)
            try:
                await self._take_over(writer)
                await self._work(writer)
                return
            except CodeFault as fault:
                # the output must not miss what a later release can read: stand still, visibly, and try again slowly
                self.failed, backoff = fault, BACKOFF[1]
                metrics.DERIVER_FAULTS.labels(**self._labels).inc()
                log.error("deriver-stands", **self._labels, position=fault.position.model_dump(), retry_in=backoff, exc_info=fault.cause)
            except LogReplaced as error:
                self.failed, backoff = error, BACKOFF[1]
                log.critical("log-replaced", **self._labels, error=str(error), retry_in=backoff)
            except WriterFenced as error:
                fences = fences + 1 if time.monotonic() - owned_at < SETTLED_SECONDS else 1
                least, most = self._fenced_backoff
                backoff = min(most, least * 2 ** (fences - 1))
                log.warning("deriver-fenced", **self._labels, error=str(error), retry_in=backoff)
            except Exception as error:
                least, most = BACKOFF
                settled = time.monotonic() - owned_at > most
                backoff = least if settled else min(most, max(least, backoff * 2))
                log.warning("deriver-retaken", **self._labels, error=repr(error), retry_in=backoff)
            finally:
                self.ready = False
                self._change.set()
                reader, self._reader = self._reader, None
                if reader is not None:
                    await reader.stop()
                await writer.close()
            await self._pause(backoff)

    async def _take_over(self, writer: FencedWriter) -> None:
        await writer.open()
        first: dict[TopicPartition, int] = {}
        for topic in self._sources:
            first |= {TopicPartition(topic, p): offset for p, offset in (await beginning_offsets(self._kafka, topic)).items()}
        held = await committed_offsets(self._kafka, self._group, first)
        written = await positions.last_written(self._kafka, self._output)
        self._next = {where: max(begin, held.get(where, 0), written.get(where, 0)) for where, begin in first.items()}
        await demand_same_log(
            self._kafka,
            [Held(where, next_) for where, next_ in self._next.items()],
            holder=f"{self._output}, which {self._group} derives,",
            remedy="all topics are restored from one copy",
        )
        if isinstance(self.failed, LogReplaced):
            self.failed = None
        if self._restore is not None:
            await self._restore()
        self._reader = Reader(self._kafka, self._next, client_id=f"{self._group}.in", buffer=2 * self._max_batch)
        await self._reader.start()
        log.info("deriver-owned", **self._labels, positions={f"{w.topic}/{w.partition}": o for w, o in self._next.items()})
        self.ready = self.failed is None
        self._change.set()

    async def _work(self, writer: FencedWriter) -> None:
        assert self._reader is not None
        while not self._stopping.is_set():
            batches = await self._gathered(self._reader)
            if batches or self._poked:
                self._poked = False
                await self._derive(writer, batches)
            for topic in self._sources:
                lag = sum(count for (t, _), count in self.lag().items() if t == topic)
                metrics.DERIVER_LAG.labels(**self._labels, topic=topic).set(lag)

    async def _gathered(self, reader: Reader) -> list[Batch]:
        batches = await reader.take_any(self._max_batch, 0 if self._poked else 1.0)
        if not batches or not self._linger or self._poked:
            return batches
        until = time.monotonic() + self._linger
        while sum(len(b.records) for b in batches) < self._max_batch and (rest := until - time.monotonic()) > 0:
            batches += await reader.take_any(self._max_batch, rest)
        return batches

    async def _derive(self, writer: FencedWriter, batches: Sequence[Batch]) -> None:
        covered: dict[tuple[str, int], tuple[int, int]] = {}
        for batch in batches:
            begin, _ = covered.get((batch.topic, batch.partition), (batch.start, 0))
            covered[batch.topic, batch.partition] = (begin, batch.next)
        records = [record for batch in batches for record in batch.records]
        after = dict(self._next) | {TopicPartition(*where): next_ for where, (_, next_) in covered.items()}
        out = await self._transformed(records, covered)
        moved = {TopicPartition(*where): next_ for where, (_, next_) in covered.items()}
        if not out and not moved:
            return
        ends = await writer.commit(self._addressed(out, after), moved)
        self._next, self.failed, self.ready = after, None, True
        metrics.DERIVER_BATCH.labels(**self._labels).observe(len(records))
        if self._committed is not None:
            told = self._committed({where.partition: offset for where, offset in ends.items()})
            if inspect.isawaitable(told):
                await told

    async def _transformed(self, records: Sequence[Recorded], covered: Covered) -> Sequence[OutRecord]:
        try:
            out = self._transform(records, covered)
            return await out if inspect.isawaitable(out) else out
        except Exception as error:
            (topic, partition), (begin, _) = next(iter(covered.items()), ((self._output, self._partition), (0, 0)))
            at = records[0].position if records else Position(topic=topic, partition=partition, offset=begin)
            raise CodeFault("transform", at, error) from error

    def _addressed(self, out: Sequence[OutRecord], after: Mapping[TopicPartition, int]) -> list[OutRecord]:
        """Every record with its topic and partition; the last one of each partition also carries the source positions."""
        placed = [r._replace(topic=self._output, partition=self._partition if r.partition is None else r.partition) for r in out]
        last = {record.partition: index for index, record in enumerate(placed)}
        header = (positions.HEADER, positions.encode(after))
        for index in last.values():
            placed[index] = placed[index]._replace(headers=(*placed[index].headers, header))
        return placed

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
