"""What a worker does with a day of the sample: read, check, aggregate, publish."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import duckdb
import pytest
from barecount_chassis import Keyring
from barecount_contracts import AnnounceWorker, RecordDeadLettered, ReportTaskFailed, ReportTaskSucceeded, RunLogged
from barecount_local.sample import deliver
from deltalake import DeltaTable
from prometheus_client.parser import text_string_to_metric_families

from tests.support.workers import TENANT, Execution, WorkerProcess, reference, run_stages, ticket

pytestmark = pytest.mark.integration
Start = Callable[..., WorkerProcess]
DAY = "2025-10-04"


async def test_a_damaged_day_leaves_dead_letters_and_is_not_published_because_its_totals_differ(
    execution: Execution, start_worker: Start
) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY), damaged=True)
    announced = await execution.announced(worker.worker_id)
    before = await run_stages(execution, announced, "run-damaged", DAY, "read", "check", "aggregate")
    publish = reference(announced, "publish", DAY)
    await execution.order(publish, run_id="run-damaged", inputs=before.outputs, ticket=ticket(DAY, 1))

    failed = await execution.final(publish)

    assert isinstance(failed, ReportTaskFailed)
    assert (failed.error_type, failed.retriable) == ("reconciliation-failed", False)
    assert [one.name for one in failed.reconciliations if not one.holds]
    letters = execution.dead("run-damaged")
    assert 1 <= len(letters) == len({letter.entry_id for letter in letters})
    assert all(letter.source.line and letter.payload and letter.pipeline == "revenue-kpi" for letter in letters)
    lines = execution.logs("run-damaged")
    counted = {line.error_type: line.fields["count"] for line in lines if line.event == "records-dead-lettered"}
    assert sum(counted.values()) == len(letters)
    off = [line for line in lines if line.event == "reconciled" and line.level == "error"]
    assert {line.error_type for line in off} == {"reconciliation-failed"}
    assert all(Decimal(line.fields["actual"]) - Decimal(line.fields["expected"]) == Decimal(line.fields["difference"]) for line in off)
    assert not DeltaTable.is_deltatable(str(worker.lake / TENANT / "prod" / "tables" / "revenue_kpi"))


async def test_dead_letters_and_log_lines_stand_in_the_log_before_the_report_that_rests_on_them(
    execution: Execution, start_worker: Start
) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY), damaged=True)
    announced = await execution.announced(worker.worker_id)
    read = reference(announced, "read", DAY)
    _, order = await execution.order(read, run_id="run-letters")

    done = await execution.final(read)

    assert isinstance(done, ReportTaskSucceeded)
    records = [one for one in execution.said if getattr(one.payload, "run_id", "") == "run-letters"]
    beside = [one.envelope.time for one in records if isinstance(one.payload, RecordDeadLettered | RunLogged)]
    (final,) = [one.envelope for one in records if one.payload is done]
    # acknowledged before: each was made, sent and answered by the broker before the report was made
    assert len(beside) > done.metrics.dead_lettered > 0
    assert max(beside) < final.time
    await execution.until(lambda: len(execution.dead("run-letters")) == done.metrics.dead_lettered, "every dead letter")
    assert {one.envelope.correlation for one in records} == {order.correlation}
    assert {one.envelope.tenant for one in records} == {TENANT}


async def test_a_retry_of_a_read_gives_its_dead_letters_the_same_entry_ids(execution: Execution, start_worker: Start) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY), damaged=True)
    announced = await execution.announced(worker.worker_id)
    ids = []
    for attempt in (1, 2):
        read = reference(announced, "read", DAY, attempt)
        await execution.order(read, run_id="run-twice")
        done = await execution.final(read)

        def of(number: int = attempt) -> list[RecordDeadLettered]:
            return [letter for letter in execution.dead("run-twice") if letter.attempt == number]

        await execution.until(lambda of=of, done=done: len(of()) == done.metrics.dead_lettered, "every dead letter")
        ids.append({letter.entry_id for letter in of()})

    assert ids[0] == ids[1] != set()


async def test_a_whole_day_is_published_once_and_reconciles_to_the_cent(execution: Execution, start_worker: Start) -> None:
    worker = start_worker()
    delivery = deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    before = await run_stages(execution, announced, "run-whole", DAY, "read", "check", "aggregate")
    publish = reference(announced, "publish", DAY)
    await execution.order(publish, run_id="run-whole", inputs=before.outputs, ticket=ticket(DAY, 1))

    done = await execution.final(publish)

    assert isinstance(done, ReportTaskSucceeded)
    assert done.publication is not None
    assert done.publication.ticket == 3
    assert all(one.holds for one in done.reconciliations)
    table = DeltaTable(worker.lake / TENANT / "prod" / "tables" / "revenue_kpi")
    arrow = table.to_pyarrow_table()  # noqa: F841  DuckDB reads the variable
    revenue = duckdb.sql("SELECT sum(revenue) FROM arrow WHERE level = 'total'").fetchall()
    assert revenue == [(delivery.sales_value,)]
    assert table.version() == done.publication.delta_version
    said = {line.event for line in execution.logs("run-whole")}
    assert {"stage-started", "checked", "reconciled", "published", "stage-succeeded"} <= said


async def test_a_task_that_carries_another_manifest_than_its_plan_names_is_refused(execution: Execution, start_worker: Start) -> None:
    worker = start_worker()
    announced = await execution.announced(worker.worker_id)
    read = reference(announced, "read", DAY)
    await execution.order(read, run_id="run-forged", manifest_digest="sha256:" + "0" * 64)

    failed = await execution.final(read)

    assert isinstance(failed, ReportTaskFailed)
    assert (failed.error_type, failed.retriable) == ("task-invalid", False)
    assert "manifest" in failed.error_message


async def test_tasks_of_another_incarnation_or_another_worker_are_left_alone(execution: Execution, start_worker: Start) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    old = reference(AnnounceWorker(**{**announced.model_dump(), "incarnation": "before"}), "read", DAY)
    await execution.order(old, run_id="run-old")
    mine = reference(announced, "read", DAY)
    await execution.order(mine, run_id="run-new")

    await execution.final(mine)

    assert execution.reports(mine) == ["ReportTaskStarted", "ReportTaskSucceeded"]
    assert execution.reports(old) == []


async def test_the_same_task_delivered_twice_is_done_once(execution: Execution, start_worker: Start) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    read = reference(announced, "read", DAY)
    task, _ = await execution.order(read, run_id="run-once")
    await execution.write(worker.worker_id, task)
    after = reference(announced, "read", DAY)
    await execution.order(after, run_id="run-after")

    await execution.final(after)

    assert execution.reports(read) == ["ReportTaskStarted", "ReportTaskSucceeded"]


async def test_reports_carry_the_trace_of_their_task_and_metrics_tell_how_tasks_ended(execution: Execution, start_worker: Start) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    read = reference(announced, "read", DAY)
    _, order = await execution.order(read, run_id="run-traced")
    await execution.final(read)
    # a slot takes the next task after the report of the one before: its figures stand by then
    await run_stages(execution, announced, "run-next", DAY, "read")

    traces = {one.headers["traceparent"][3:35] for one in execution.said if getattr(one.payload, "run_id", "") == "run-traced"}

    assert traces == {order.correlation.hex.encode()}
    status, metrics = await worker.get("/metrics")
    assert status == 200
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    assert samples["barecount_worker_tasks_total", ("outcome", "succeeded"), ("stage", "read")] >= 1
    assert samples["barecount_worker_slots",] == 1
    assert (await worker.get("/health/ready"))[0] == 200


async def test_executions_gate_lets_every_report_and_announcement_in(execution: Execution, start_worker: Start) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    await run_stages(execution, announced, "run-signed", DAY, "read")
    gate = Keyring(worker.keys, "execution").gate()

    commands = [one.envelope for one in execution.said if not isinstance(one.payload, RunLogged | RecordDeadLettered)]

    assert {command.type for command in commands} == {"AnnounceWorker", "ReportTaskStarted", "ReportTaskSucceeded"}
    assert [gate(command, None) for command in commands] == [None] * len(commands)
    assert {command.principal for command in commands} == {"service:worker"}


async def test_a_slot_holds_no_password_and_no_key(execution: Execution, start_worker: Start) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    await run_stages(execution, announced, "run-slot", DAY, "read")

    (slot,) = worker.slots()

    with open(f"/proc/{slot}/environ", "rb") as opened:  # noqa: ASYNC230
        assert b"BARECOUNT_" not in opened.read()
