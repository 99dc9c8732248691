"""The owner of one inbox partition: take over, read, judge, commit, swap; and again from the log after anything unknown.

While one transaction is under way the next one's records are judged, over a state that is thrown away when the first one fails: its
producers never have two open at a time, so events stand in the log in the order in which they were decided.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any, Generic, TypeVar

import structlog
from aiokafka import TopicPartition
from barecount_contracts import Position, RecordRejected

from . import metrics
from .ahead import Ahead
from .appender import Appender
from .books import Books
from .continuity import Held, Mark, demand_same_log
from .decider import Decider, TickOf
from .ending import end
from .errors import CodeFault, EventlogError, LogReplaced, WriterFenced
from .judging import Judge, PartitionState
from .memory import WORTH_GIVING_BACK, give_back
from .place import Place
from .proofs import Prover
from .reader import Reader, committed_offsets, end_offsets, read_all
from .replay import replay
from .saving import Saving
from .snapshots import Snapshot, SnapshotStore, join, part
from .telling import Telling
from .ticking import Ticking, tick_key
from .unwritten import Unwritten
from .writer import FencedWriter

S = TypeVar("S")

log = structlog.get_logger(__name__)

SLICE_SECONDS = 0.005
# events of a restore that are entered together: 100 or 200 of runs took 17 us each at best, 50 or 500 took 20 to 22
TOGETHER = 100
BACKOFF = (0.2, 10.0)
# how long an owner that stops waits until its group has its last position
TELL_SECONDS = 3.0
# an owner that worked this long was not fighting with another
SETTLED_SECONDS = 300.0


class Owner(Generic[S]):
    """Keeps one partition. `state` is always what the committed log says; it is replaced after a commit and never changed."""

    def __init__(
        self,
        place: Place,
        partition: int,
        judge: Judge[S],
        decider: Decider[S],
        *,
        snapshots: SnapshotStore | None,
        appender: Appender | None,
        tick: TickOf | None,
        prover: Prover | None,
        changed: Callable[[], None],
    ) -> None:
        self.partition, self._place, self._judge, self._decider = partition, place, judge, decider
        self._snapshots, self._appender, self._tick, self._prover, self._changed = snapshots, appender, tick, prover, changed
        self._inbox = TopicPartition(place.inbox, partition)
        self._events = TopicPartition(place.events, partition)
        self._labels = {"service": place.service, "inbox": place.inbox}
        self.state: PartitionState[S] = judge.initial()
        self.ready = False
        self.failed: Exception | None = None
        self._events_next = 0
        self._cluster: str | None = None
        self._mark: Mark | None = None
        self._read_to = 0
        self._stopping = asyncio.Event()
        self._reader: Reader | None = None
        self._saving = Saving(snapshots, place.service, partition, place.snapshot_every, self._labels)
        self._ticking: asyncio.Task[None] | None = None
        self._ticks = Ticking()
        self._telling = Telling()

    async def run(self) -> None:
        """Returns after `stop`, or when a bug in this release stops the partition (`failed` says where)."""
        reason, backoff, fences = "start", 0.0, 0
        while not self._stopping.is_set():
            owned_at = time.monotonic()
            writer = FencedWriter(self._place.kafka, f"{self._place.group}.{self.partition}", group=self._place.group)
            try:
                metrics.HANDLER_TAKEOVERS.labels(**self._labels, reason=reason).inc()
                await self._take_over(writer)
                await self._work(writer)
                return
            except CodeFault as fault:
                self.failed = fault
                metrics.HANDLER_FAULTS.labels(**self._labels, step=fault.step).inc()
                log.error(
                    "partition-stopped",
                    partition=self.partition,
                    step=fault.step,
                    position=fault.position.model_dump(),
                    exc_info=fault.cause,
                )
                return
            except LogReplaced as error:
                # deciding on from an older log would give new meanings to offsets that others have seen
                self.failed, backoff, reason = error, BACKOFF[1], "log-replaced"
                log.critical("log-replaced", **self._labels, partition=self.partition, error=str(error), retry_in=backoff)
            except WriterFenced as error:
                fences = fences + 1 if time.monotonic() - owned_at < SETTLED_SECONDS else 1
                least, most = self._place.fenced_backoff
                # the other owner is presumably right: come back late, later each time, so that two never fight
                reason, backoff = "fenced", min(most, least * 2 ** (fences - 1))
                log.warning("partition-fenced", **self._labels, partition=self.partition, error=str(error), retry_in=backoff)
            except Exception as error:
                least, most = BACKOFF
                settled = time.monotonic() - owned_at > most
                backoff = least if settled else min(most, max(least, backoff * 2))
                reason = type(error).__name__
                log.warning("partition-retaken", **self._labels, partition=self.partition, error=repr(error), retry_in=backoff)
            finally:
                self._set_ready(False)
                await self._leave(writer)
            await self._pause(backoff)

    def stop(self) -> None:
        """Ends after the transaction under way."""
        self._stopping.set()

    @property
    def lag(self) -> int:
        """Inbox records without an outcome, as far as the last fetch knows."""
        end = self._reader.end(self._inbox) if self._reader else None
        return max(0, end - self._read_to) if end is not None else 0

    async def _take_over(self, writer: FencedWriter) -> None:
        """Fence first, then read: only after `open` the log of this partition stands still (traps 6 and 7)."""
        started = time.perf_counter()
        await writer.open()
        committed = (await committed_offsets(self._place.kafka, self._place.group, [self._inbox])).get(self._inbox, 0)
        state, next_, restored = await self._restored()
        # the group's offset may have expired (trap 19); the outcomes in the log have not
        start = max(committed, state.books.inbox_next)
        end = (await end_offsets(self._place.kafka, self._place.inbox))[self.partition]
        if start > end:
            raise LogReplaced(
                f"{self._place.inbox}/{self.partition} ends at {end}, but {self._place.events} holds outcomes up to {start}: they are "
                "not of one copy. Restore all topics from the same one (docs/backup-and-restore.md); nothing is decided until then"
            )
        if committed > state.books.inbox_next:
            await self._nothing_missing(state.books.inbox_next, committed)
        self.state, self._events_next, self._saving.since, self._read_to = state, next_, restored, start
        self._reader = Reader(
            self._place.kafka, {self._inbox: start}, client_id=f"{self._place.group}.{self.partition}.in", buffer=2 * self._place.max_batch
        )
        await self._reader.start()
        self._ticks, self._telling = Ticking(), Telling(committed)
        metrics.HANDLER_RESTORE.labels(**self._labels).observe(time.perf_counter() - started)
        self._tell_rejected()
        log.info("partition-owned", **self._labels, partition=self.partition, replayed=restored, events_next=next_, inbox_next=start)
        self.failed = None
        self._set_ready(True)

    async def _nothing_missing(self, decided: int, committed: int) -> None:
        """Between the last outcome and the committed position only control markers may lie: every record has an outcome."""
        async for batch in read_all(self._place.kafka, self._place.inbox, [self.partition], {self.partition: decided}):
            for record in batch.records:
                if record.offset < committed:
                    raise EventlogError(
                        f"inbox offset {record.offset} of {self._place.inbox}/{self.partition} is committed as decided, but "
                        f"{self._place.events} holds no outcome: events are missing. Restore the log; nothing is decided until then"
                    )
            if batch.next >= committed:
                return

    async def _restored(self) -> tuple[PartitionState[S], int, int]:
        """The state from the newest snapshot and the events after it; the next events offset; how many events were replayed."""
        state, next_, self._mark = self._judge.initial(), 0, None
        if self._snapshots is not None:
            found = await self._snapshots.load(self._place.service, self.partition, self._judge.schema)
            held = [Held(self._events, found.events_next, found.cluster, found.mark)] if found is not None else []
            service = self._place.service
            self._cluster = await demand_same_log(
                self._place.kafka,
                held,
                holder=f"the snapshot of {service}'s partition {self.partition}",
                remedy=f"what it held is given up: barecount rebuild {service} --accept-loss",
            )
            if found is not None:
                books, domain = part(found.blob)
                state, next_ = PartitionState(self._decider.load(domain), Books.load(books)), found.events_next
                self._mark, size = found.mark, len(found.blob)
                del found, books, domain
                if size >= WORTH_GIVING_BACK:
                    give_back()
        replayed = 0
        async with aclosing(replay(self._place.kafka, self._events, next_)) as stretches:
            async for stretch in stretches:
                for at in range(0, len(stretch.records), TOGETHER):
                    state = self._judge.restore(state, stretch.records[at : at + TOGETHER])
                if stretch.records:
                    self._mark = Mark.of(stretch.records[-1].offset, stretch.records[-1].value)
                replayed += len(stretch.records)
                next_ = stretch.next
        return state, next_, replayed

    async def _work(self, writer: FencedWriter) -> None:
        """Until `stop`. What was judged by then is committed first; so is what was judged before a record that stops the partition.

        Raises: CodeFault; what ended the reading or the writer.
        """
        assert self._reader is not None
        ahead = Ahead(self._reader, self._inbox, self._place.max_batch, self._prover)
        stopping = asyncio.create_task(self._stopping.wait())
        made, written = Unwritten(self.state, self._read_to), Unwritten(self.state, self._read_to)
        commit: asyncio.Task[dict[TopicPartition, int]] | None = None
        fault: CodeFault | None = None
        try:
            while True:
                if commit is not None and commit.done():
                    self._settle(written, commit.result())
                    commit = None
                    self._saving.begin(self._snapshot)
                ended = fault is not None or stopping.done()
                # what has come goes into the next transaction, as far as it has room, also when that could begin now: each one costs
                # three questions to the broker
                room = self._place.max_batch - made.count
                if not ended and room and ahead.is_there:
                    fault = await self._judged(ahead, made, room)
                    continue
                tell = self._telling.wait(made.position)
                if commit is None and (made.count or tell == 0 or (ended and tell is not None)):
                    written, made = made, Unwritten(made.state, made.position)
                    commit = asyncio.create_task(writer.commit(written.out, self._told(written.position, ended)))
                elif commit is None:
                    self._reached(made.position)
                due = self._tick_due()
                if ended and commit is None:
                    break
                if commit is None and tell is not None:
                    due = tell if due is None else min(due, tell)
                news: set[asyncio.Future[Any]] = {commit} if commit is not None else set()
                if not ended:
                    # what waits for room is no news
                    news |= {stopping} if ahead.is_there else {stopping, ahead.coming}
                only_told = ended and not (written.out or made.count)
                done, _ = await asyncio.wait(news, timeout=TELL_SECONDS if only_told else due, return_when=asyncio.FIRST_COMPLETED)
                if only_told and not done:
                    # the log says it too: a broker that is away must not hold up the end for it
                    break
        finally:
            if commit is not None:
                # it ends by itself: a commit cannot be taken back
                commit.cancel()
                await asyncio.gather(commit, return_exceptions=True)
            await end(stopping)
            await ahead.stop()
        if fault is not None:
            raise fault
        await self._saving.finish(self._snapshot)

    async def _judged(self, ahead: Ahead, made: Unwritten[S], most: int) -> CodeFault | None:
        """Decides what is there, at most so many records, over successive states; returns what stops the partition at a record."""
        batch, records = ahead.take(most)
        slice_end = time.perf_counter() + SLICE_SECONDS
        for record, proof in records:
            if record.offset < made.state.books.inbox_next:
                continue
            try:
                answer = self._judge.judge(made.state, record, proof)
            except CodeFault as error:
                # what was decided before the faulty record is right and is kept; the record itself is neither lost nor skipped
                made.position = record.offset
                return error
            made.add(answer, record.timestamp)
            if time.perf_counter() > slice_end:
                await asyncio.sleep(0)
                slice_end = time.perf_counter() + SLICE_SECONDS
        made.position = batch.next
        return None

    def _told(self, position: int, at_once: bool) -> dict[TopicPartition, int]:
        """The position, if it goes along with the transaction that begins now."""
        if not at_once and self._telling.wait(position) != 0:
            return {}
        self._telling.tell(position)
        return {self._inbox: position}

    def _settle(self, written: Unwritten[S], after: dict[TopicPartition, int]) -> None:
        """A transaction is in the log: what it made is what is known now."""
        self._reached(written.position)
        if not written.out:
            return
        self._events_next = after[self._events]
        newest = next(one for one in reversed(written.out) if one.topic == self._place.events)
        self._mark = Mark.of(self._events_next - 1, newest.value)
        self._saving.since += len(written.out)
        self.state = written.state
        if written.heard is not None:
            self._ticks.heard(written.heard)
        self._count(written)

    def _reached(self, position: int) -> None:
        self._read_to = position
        metrics.HANDLER_LAG.labels(**self._labels, partition=self.partition).set(self.lag)

    def _count(self, written: Unwritten[S]) -> None:
        metrics.HANDLER_BATCH.labels(**self._labels).observe(written.count)
        # looking up a counter costs more than counting
        for outcome, count in written.outcomes.items():
            metrics.HANDLER_OUTCOMES.labels(**self._labels, type=outcome).inc(count)
        for outcome, code in written.refused:
            metrics.HANDLER_REFUSED.labels(**self._labels, code=code).inc()
            if outcome == RecordRejected.TYPE:
                self._tell_rejected()
                metrics.HANDLER_REJECTED.labels(**self._labels, code=code).inc()
        self._changed()

    def _tell_rejected(self) -> None:
        for code, count in self.state.books.rejected.items():
            metrics.HANDLER_REJECTED_EVER.labels(**self._labels, partition=self.partition, code=code).set(count)

    def _tick_due(self) -> float | None:
        """Appends a tick in the background when one is due; else the seconds until it will be."""
        if self._tick is None or self._appender is None or (self._ticking is not None and not self._ticking.done()):
            return None
        deadline = self._deadline()
        wait = self._ticks.wait(deadline, self.state.books.inbox_next)
        if wait == 0 and deadline is not None:
            self._ticking = asyncio.create_task(self._append_tick(self._tick, self._appender, deadline), name="tick")
            return None
        return wait

    def _deadline(self) -> datetime | None:
        try:
            return self._decider.deadline(self.state.domain)
        except Exception as error:
            raise CodeFault("deadline", self._at_next(), error) from error

    async def _append_tick(self, tick: TickOf, appender: Appender, deadline: datetime) -> None:
        """Returns when the tick stands in the inbox; reading it wakes the owner."""
        key, delay = tick_key(self.partition, self._place.partitions), 0.2
        while not self._stopping.is_set():
            try:
                position, timestamp = await appender.append_timed(self._place.inbox, key, tick(self.partition), self.partition)
            except EventlogError as error:
                log.warning("tick-not-appended", **self._labels, partition=self.partition, error=str(error), retry_in=delay)
                await self._pause(delay)
                delay = min(5.0, delay * 2)
                continue
            self._ticks.appended(position, timestamp, deadline)
            metrics.HANDLER_TICKS.labels(**self._labels).inc()
            return

    def _snapshot(self) -> Callable[[], Snapshot]:
        """Makes the snapshot of now, whenever it is called: the state is immutable."""
        state, next_, cluster, mark = self.state, self._events_next, self._cluster, self._mark

        def made() -> Snapshot:
            blob = join(state.books.dump(), self._decider.dump(state.domain))
            return Snapshot(self._judge.schema, next_, state.books.inbox_next, blob, cluster, mark)

        return made

    async def _leave(self, writer: FencedWriter) -> None:
        reader, self._reader = self._reader, None
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
            self._ticking = None
        if reader is not None:
            await reader.stop()
        await writer.close()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _set_ready(self, ready: bool) -> None:
        self.ready = ready
        metrics.HANDLER_OWNED.labels(**self._labels, partition=self.partition).set(int(ready))
        self._changed()

    def _at_next(self) -> Position:
        return Position(topic=self._place.inbox, partition=self.partition, offset=self.state.books.inbox_next)
