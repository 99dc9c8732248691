"""A worker's life: fix the position in the tasks, say that it is there, take what is addressed to it, stop what is not wanted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from barecount_chassis import Record, Tail, tail_partition
from barecount_contracts import AnnounceWorker, EnvelopeError, InterruptTask, RunTask, catalogue, partition_of
from barecount_eventlog import Appender

from . import telemetry
from .attempt import Attempt
from .reports import Reports
from .settings import WorkerSettings
from .slots import Slots

TASKS: Final = "runs.tasks"
STALE: Final = frozenset({"run-ended", "run-not-found", "stale-attempt"})
"""Reasons of an InterruptTask that answer a report of an attempt that is not the open one: its lease was lost."""
REMEMBERED: Final = 10_000
FAREWELL_SECONDS: Final = 2.0


class Worker:
    """One incarnation. A part of the service's health: `ready`, `failed`, `lag`. `end` is called once it has failed for good."""

    def __init__(
        self, settings: WorkerSettings, *, incarnation: str, code_version: str, appender: Appender, slots: Slots, end: Callable[[], None]
    ) -> None:
        self._settings, self._incarnation, self._code_version = settings, incarnation, code_version
        self._id, self._appender, self._slots = settings.identity, appender, slots
        self._end = end
        self._attempts: dict[str, tuple[Attempt, asyncio.Task[None]]] = {}
        self._seen: dict[str, None] = {}
        self._soon = asyncio.Event()
        self._announcements = 0
        self._stopping = False
        self._tail: Tail | None = None
        self._parts: list[asyncio.Task[None]] = []
        self._reports: Reports | None = None
        self.ready = False
        self.failed: BaseException | None = None

    def announce_soon(self) -> None:
        """Say again that it is there: after an outage, or after its lease was lost."""
        self._soon.set()

    async def start(self, reports: Reports) -> None:
        """Returns when the position is fixed and the first announcement stands in the log.

        Raises: ReaderError, KafkaError when the tasks cannot be read.
        """
        self._reports = reports
        partition = partition_of(self._id, catalogue().topics[TASKS].partitions)
        # the position first: what is dispatched because of the announcement lies behind it
        self._tail = await tail_partition(self._settings.kafka(), TASKS, partition, client_id=f"worker.{self._id}")
        await self._announce(self._slots.count)
        self._parts = [
            asyncio.create_task(self._guard(self._follow(self._tail)), name="follow"),
            asyncio.create_task(self._guard(self._keep_announcing()), name="announce"),
        ]
        self.ready = True

    async def stop(self, seconds: float) -> None:
        """No new task; those under way are interrupted, and their ends are reported. What takes longer than `seconds` is killed."""
        self.ready, self._stopping = False, True
        for part in self._parts:
            part.cancel()
        await asyncio.gather(*self._parts, return_exceptions=True)
        if self._tail is not None:
            await self._tail.stop()
        with contextlib.suppress(TimeoutError):
            # first, so that a slot that becomes free is not filled again
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._announce(0)
        for attempt, _ in self._attempts.values():
            attempt.interrupt("worker-stopping")
        under_way = [task for _, task in self._attempts.values()]
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=max(1.0, seconds - FAREWELL_SECONDS))
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._slots.close()

    def lag(self) -> dict[tuple[str, int], int]:
        return {} if self._tail is None else self._tail.lag()

    async def _follow(self, tail: Tail) -> None:
        async for record in tail:
            try:
                self._take(record)
            except EnvelopeError as error:
                telemetry.SKIPPED.labels(error.code).inc()
                telemetry.logger().error(telemetry.RECORD_SKIPPED, at=record.at, code=error.code, detail=error.detail)
        if not self._stopping:
            raise RuntimeError("the reader of the tasks ended by itself")

    def _take(self, record: Record) -> None:
        """Raises: EnvelopeError when the record cannot be read."""
        if record.key != self._id:
            return  # another worker of this partition
        match record.payload:
            case RunTask() as order if order.task.worker_id == self._id and order.task.incarnation == self._incarnation:
                self._begin(record, order)
            case InterruptTask(task=task, reason=reason) if task.worker_id == self._id and task.incarnation == self._incarnation:
                self._interrupt(task.nonce, reason)
            case RunTask() | InterruptTask():
                pass  # for an earlier life of this worker: execution learns from our announcement that it is over
            case other:
                telemetry.SKIPPED.labels("unknown-type").inc()
                telemetry.logger().error(telemetry.RECORD_SKIPPED, at=record.at, code="unknown-type", detail=other.TYPE)

    def _begin(self, record: Record, order: RunTask) -> None:
        nonce = order.task.nonce
        if nonce in self._seen:
            return
        self._seen[nonce] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        assert self._reports is not None
        attempt = Attempt(record.envelope, order, record.headers, slots=self._slots, reports=self._reports, appender=self._appender)
        self._attempts[nonce] = attempt, asyncio.create_task(self._run(attempt), name=f"attempt:{nonce}")

    async def _run(self, attempt: Attempt) -> None:
        try:
            await attempt.run()
        except Exception as error:
            self._fail(error)
        finally:
            del self._attempts[attempt.order.nonce]

    def _interrupt(self, nonce: str, reason: str) -> None:
        found = self._attempts.get(nonce)
        if reason in STALE:
            if found is not None:
                found[0].abandon(reason)
            # a lost lease withdraws the worker: it comes back by saying that it is there
            self.announce_soon()
        elif found is not None:
            found[0].interrupt(reason)

    async def _keep_announcing(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.announce_seconds):
                    await self._soon.wait()
            except TimeoutError:
                if self._attempts:
                    continue  # reports show that it lives
            self._soon.clear()
            await self._announce(self._slots.count)

    async def _announce(self, slots: int) -> None:
        assert self._reports is not None
        announcement = AnnounceWorker(
            worker_id=self._id,
            incarnation=self._incarnation,
            pool=self._settings.pool,
            slots=slots,
            code_version=self._code_version,
        )
        self._announcements += 1
        await self._reports.announce(announcement, self._announcements)
        telemetry.logger().info(telemetry.ANNOUNCED, worker_id=self._id, incarnation=self._incarnation, slots=slots)

    async def _guard(self, part: Awaitable[None]) -> None:
        try:
            await part
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """A worker that cannot hear or speak must not announce itself: its process ends, and whoever runs it starts it again."""
        telemetry.logger().error(telemetry.FAILED, error=repr(error), exc_info=error)
        if self.failed is None:
            self.failed = error
            self._end()
