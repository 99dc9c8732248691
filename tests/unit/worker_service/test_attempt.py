"""What an attempt reports, in which order, and what it leaves unsaid."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from barecount_chassis import CommandBus, Keyring, create_keypair
from barecount_contracts import RecordDeadLettered, ReportTaskFailed, ReportTaskSucceeded, RunLogged
from barecount_worker import reports as reports_room
from barecount_worker.attempt import Attempt
from barecount_worker.reports import Reports
from barecount_worker.slots import Crashed, Ended

from tests.support.worker_fakes import CORRELATION, Log, OneSlot, Slot, envelope, task

pytestmark = pytest.mark.unit

METRICS = {"records_in": 10, "records_out": 9, "dead_lettered": 1, "bytes_out": 100, "duration_ms": 5}
DONE = Ended({"metrics": METRICS, "inputs": [], "outputs": [], "checks": [], "reconciliations": []}, None)
LETTER = {"is": "dead", "error_type": "type", "reason": "n/a is no number", "path": "acme/a.csv", "line": 7, "payload": "1,n/a"}
LINE = {"is": "log", "level": "warning", "event": "record-dead-lettered", "fields": {"error_type": "type", "line": 7}}


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def recovered() -> list[bool]:
    return []


@pytest.fixture
def reports(log: Log, tmp_path: Path, recovered: list[bool]) -> Reports:
    create_keypair(tmp_path, "worker")
    bus = CommandBus(log, Keyring(tmp_path, "worker"), inbox="runs.commands")
    return Reports(bus, pool="default", principal="service:worker", recovered=lambda: recovered.append(True))


def attempt(reports: Reports, log: Log, slot: Slot, **given: Any) -> Attempt:
    order = task(**given)
    return Attempt(envelope(order), order, {}, slots=OneSlot(slot), reports=reports, appender=log)  # type: ignore[arg-type]


async def test_a_stage_that_fails_is_reported_with_what_it_had_counted(reports: Reports, log: Log) -> None:
    failure = {"error_type": "dead-letter-threshold", "message": "too many", "retriable": False}
    assert await attempt(reports, log, Slot(Ended(DONE.result, failure))).run() == "dead-letter-threshold"

    final = log.payloads()[-1]

    assert isinstance(final, ReportTaskFailed)
    assert (final.error_type, final.error_message, final.retriable) == ("dead-letter-threshold", "too many", False)
    assert final.metrics.dead_lettered == 1


async def test_a_process_that_crashes_is_a_retriable_failure_with_a_line_in_the_runs_log(reports: Reports, log: Log) -> None:
    await attempt(reports, log, Slot(Crashed("the slot's process ended by SIGSEGV"))).run()

    *_, line, final = log.payloads()

    assert isinstance(line, RunLogged)
    assert (line.level, line.error_type) == ("error", "slot-crashed")
    assert isinstance(final, ReportTaskFailed)
    assert (final.error_type, final.retriable) == ("slot-crashed", True)


async def test_a_process_that_cannot_be_started_fails_the_attempt_at_once(reports: Reports, log: Log) -> None:
    await attempt(reports, log, Slot(OSError("Resource temporarily unavailable"))).run()

    final = log.payloads()[-1]

    assert isinstance(final, ReportTaskFailed)
    assert (final.error_type, final.retriable) == ("unexpected-error", True)


async def test_an_interrupted_attempt_whose_process_had_to_be_killed_is_interrupted_not_crashed(reports: Reports, log: Log) -> None:
    one = attempt(reports, log, Slot(Crashed("the slot's process ended by SIGKILL"), waits=True))
    running = asyncio.create_task(one.run())
    await log.until(1)
    one.interrupt("run-cancelled")
    await running

    final = log.payloads()[-1]

    assert isinstance(final, ReportTaskFailed)
    assert (final.error_type, final.retriable) == ("interrupted", True)


async def test_an_abandoned_attempt_says_nothing_at_its_end(reports: Reports, log: Log) -> None:
    one = attempt(reports, log, Slot(DONE, waits=True))
    running = asyncio.create_task(one.run())
    await log.until(1)
    one.abandon("stale-attempt")

    assert await running == "abandoned"
    assert log.types() == ["ReportTaskStarted"]


async def test_the_last_report_waits_until_every_dead_letter_and_line_is_acknowledged(reports: Reports, log: Log) -> None:
    log.hold("dlq")
    running = asyncio.create_task(attempt(reports, log, Slot(DONE, (LETTER, LINE))).run())
    await log.until(3)
    for _ in range(20):
        await asyncio.sleep(0)
    assert sorted(log.types()) == ["RecordDeadLettered", "ReportTaskStarted", "RunLogged"]

    log.release("dlq")
    assert await running == "succeeded"

    final = log.payloads()[-1]
    assert isinstance(final, ReportTaskSucceeded)
    assert {record.correlation for _, _, record in log.records} == {CORRELATION}
    assert {record.tenant for _, _, record in log.records} == {"acme"}
    assert {key for topic, key, _ in log.records if topic != "runs.commands"} == {"run-1"}
    (letter,) = [one for one in log.payloads() if isinstance(one, RecordDeadLettered)]
    assert (letter.source.line, letter.payload) == (7, "1,n/a")


async def test_a_report_that_was_not_acknowledged_is_sent_again_as_the_same_command(
    reports: Reports, log: Log, recovered: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports_room, "FIRST_BACKOFF", 0.001)
    log.failures = 3
    assert await attempt(reports, log, Slot(DONE)).run() == "succeeded"
    first = [record.id for _, _, record in log.records]

    again = Log()
    reports._bus._appender = again
    assert await attempt(reports, again, Slot(DONE)).run() == "succeeded"

    assert recovered == [True], "the worker announces itself after an outage"
    assert [record.id for _, _, record in again.records] == first


async def test_signs_of_life_go_on_while_dead_letters_are_on_their_way(reports: Reports, log: Log) -> None:
    log.hold("dlq")
    one = attempt(reports, log, Slot(DONE, (LETTER,)), lease_seconds=0)
    running = asyncio.create_task(one.run())
    await log.until(6)

    assert log.types().count("ReportTaskAlive") >= 3
    assert "ReportTaskSucceeded" not in log.types()

    log.release("dlq")
    await running
    assert log.types()[-1] == "ReportTaskSucceeded"


async def test_a_report_that_no_record_can_hold_becomes_a_failure_that_says_so(reports: Reports, log: Log) -> None:
    checks = [{"name": f"check-{number}", "holds": True, "detail": "x" * 1000} for number in range(1000)]
    assert await attempt(reports, log, Slot(Ended({**DONE.result, "checks": checks}, None))).run() == "report-too-large"

    assert isinstance(log.payloads()[-1], ReportTaskFailed)
