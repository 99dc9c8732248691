"""One attempt: from the task's arrival to its acknowledged final report."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

from barecount_contracts import (
    Heading,
    Message,
    ReportTaskAlive,
    ReportTaskFailed,
    ReportTaskStarted,
    ReportTaskSucceeded,
    RunTask,
    StageMetrics,
)
from barecount_eventlog import Appender
from opentelemetry.trace import SpanKind, Status, StatusCode

from . import telemetry
from .records import DLQ, LOGS, Order, dead_lettered, logged
from .reports import Outbox, Reports
from .slot.wire import UNEXPECTED
from .slots import STOP_SECONDS, Crashed, Ended, SlotProcess, Slots

INTERRUPTED: Final = "interrupted"
CRASHED: Final = "slot-crashed"
TOO_LARGE: Final = "report-too-large"
LONGEST_MESSAGE: Final = 2_000
REPORT_BYTES: Final = 900_000


class Attempt:
    """`run` returns when nothing more is to be said. `interrupt` and `abandon` may come at any moment before."""

    def __init__(
        self, envelope: Heading, task: RunTask, headers: Mapping[str, bytes], *, slots: Slots, reports: Reports, appender: Appender
    ) -> None:
        self.order = Order(envelope.tenant, envelope.correlation, task)
        self._envelope, self._headers = envelope, headers
        self._slots, self._reports = slots, reports
        self._outbox = Outbox(appender)
        self._slot: SlotProcess | None = None
        self._stop_reason: str | None = None
        self._wanted = True
        self._lines = 0
        self._dead: Counter[str] = Counter()

    async def run(self) -> str:
        """The outcome: succeeded, the error type of a failure, or `abandoned`."""
        ref = self.order.task.task
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.destination.name": "runs.tasks",
            "barecount.run_id": self.order.task.run_id,
            "barecount.stage": ref.stage,
            "barecount.data_partition": ref.data_partition,
            "barecount.attempt": ref.attempt,
        }
        context = telemetry.extract(self._headers)
        with telemetry.tracer().start_as_current_span(
            telemetry.SPAN_TASK, context=context, kind=SpanKind.CONSUMER, attributes=attributes
        ) as span:
            began = monotonic()
            told = {"run_id": self.order.task.run_id, "stage": ref.stage, "data_partition": ref.data_partition, "attempt": ref.attempt}
            telemetry.logger().info(telemetry.TASK_TAKEN, **told, purpose=self.order.task.purpose)
            try:
                outcome = await self._from_start_to_end()
            except Exception as error:
                # say, no process could be started: the attempt fails at once instead of with its lease
                outcome = await self._give_up(error)
            if outcome != "succeeded":
                span.set_status(Status(StatusCode.ERROR, outcome))
            telemetry.TASKS.labels(ref.stage, outcome).inc()
            telemetry.STAGE_SECONDS.labels(ref.stage).observe(monotonic() - began)
            for error_type, count in self._dead.items():
                telemetry.DEAD_LETTERED.labels(error_type).inc(count)
            telemetry.logger().info(telemetry.TASK_ENDED, **told, outcome=outcome, seconds=round(monotonic() - began, 3))
            return outcome

    def interrupt(self, reason: str) -> None:
        """Stop; the end is reported as it came out."""
        if self._stop_reason is not None:
            return
        self._stop_reason = reason
        telemetry.logger().info(telemetry.TASK_INTERRUPTED, run_id=self.order.task.run_id, nonce=self.order.nonce, reason=reason)
        if self._slot is not None:
            self._ask(self._slot)

    def abandon(self, reason: str) -> None:
        """Stop, and report nothing: the attempt is not the current one any more."""
        self._wanted = False
        self.interrupt(reason)

    async def _from_start_to_end(self) -> str:
        ref = self.order.task.task
        started = asyncio.create_task(
            self._reports.report(self.order, ReportTaskStarted(run_id=self.order.task.run_id, task=ref), "started")
        )
        alive = asyncio.create_task(self._stay_alive(started))
        try:
            async with self._slots.one() as slot:
                ended = await self._work(slot)
            return await self._report_end(ended, started, alive)
        except BaseException:
            started.cancel()
            self._outbox.drop()
            raise
        finally:
            alive.cancel()

    async def _give_up(self, error: Exception) -> str:
        telemetry.logger().error(telemetry.TASK_FAILED, nonce=self.order.nonce, error=repr(error), exc_info=error)
        if self._wanted:
            await self._reports.report(self.order, self._failed(UNEXPECTED, f"{type(error).__name__}: {error}", True, {}), "final")
        return UNEXPECTED

    async def _report_end(self, ended: Ended | Crashed, started: asyncio.Task[None], alive: asyncio.Task[None]) -> str:
        """The last report comes after everything that it rests on: log lines and dead letters are acknowledged by then."""
        final, outcome = self._final(ended)
        if isinstance(ended, Crashed) and self._wanted:
            await self._log("error", "stage-failed", {"error_type": outcome, "message": ended.how, "retriable": True})
        await self._outbox.drain()
        await started
        # until here it holds its lease: many dead letters take time, too
        alive.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await alive
        if not self._wanted:
            return "abandoned"
        await self._reports.report(self.order, final, "final")
        return outcome

    async def _work(self, slot: SlotProcess) -> Ended | Crashed:
        if self._stop_reason is not None:
            return Crashed(f"interrupted before it began: {self._stop_reason}")
        self._slot = slot
        try:
            return await slot.work(self._envelope, self.order.nonce, self._heard)
        finally:
            self._slot = None

    def _ask(self, slot: SlotProcess) -> None:
        slot.stop(self.order.nonce, self._stop_reason or "")
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._insist, slot)

    def _insist(self, slot: SlotProcess) -> None:
        if self._slot is slot:
            telemetry.logger().warning(telemetry.SLOT_KILLED, slot_pid=slot.pid, nonce=self.order.nonce)
            slot.kill_now()

    async def _heard(self, message: dict[str, Any]) -> None:
        if message["is"] == "log":
            await self._log(message["level"], message["event"], message["fields"])
        else:
            self._dead[message["error_type"]] += 1
            await self._outbox.put(DLQ, self.order.task.run_id, dead_lettered(self.order, message, datetime.now(UTC)))

    async def _log(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        line = logged(self.order, self._lines, level, event, fields, datetime.now(UTC))
        self._lines += 1
        await self._outbox.put(LOGS, self.order.task.run_id, line)

    async def _stay_alive(self, started: asyncio.Task[None]) -> None:
        """Three times a lease, so that one lost report does not lose the lease."""
        sequence = 0
        await asyncio.shield(started)
        while True:
            await asyncio.sleep(self.order.task.lease_seconds / 3)
            sequence += 1
            report = ReportTaskAlive(run_id=self.order.task.run_id, task=self.order.task.task, sequence=sequence)
            await self._reports.report(self.order, report, "alive", sequence)

    def _final(self, ended: Ended | Crashed) -> tuple[Message, str]:
        """The last report and the outcome in a word."""
        if isinstance(ended, Crashed):
            kind = INTERRUPTED if self._stop_reason is not None else CRASHED
            return self._failed(kind, ended.how, True, {}), kind
        if ended.failure is not None:
            kind = str(ended.failure["error_type"])
            return self._failed(kind, str(ended.failure["message"]), bool(ended.failure["retriable"]), ended.result), kind
        report = ReportTaskSucceeded.model_validate(
            {"run_id": self.order.task.run_id, "task": self.order.task.task.model_dump(), **ended.result}
        )
        size = len(report.model_dump_json())
        if size > REPORT_BYTES:
            words = f"the report takes {size} bytes, a record at most {REPORT_BYTES}: fewer checks or fewer files"
            return self._failed(TOO_LARGE, words, False, {"metrics": ended.result["metrics"]}), TOO_LARGE
        return report, "succeeded"

    def _failed(self, error_type: str, message: str, retriable: bool, result: Mapping[str, Any]) -> ReportTaskFailed:
        known = {name: result[name] for name in ("metrics", "inputs", "checks", "reconciliations") if name in result}
        return ReportTaskFailed.model_validate(
            {
                "run_id": self.order.task.run_id,
                "task": self.order.task.task.model_dump(),
                "error_type": error_type,
                "error_message": message[:LONGEST_MESSAGE],
                "retriable": retriable,
                "metrics": StageMetrics().model_dump(),
                **known,
            }
        )
