"""What the process of a slot makes of a task, and what it tells people."""

from __future__ import annotations

from typing import Any

import pytest
from barecount_contracts import CheckResult, Reconciliation, RunTask, StageMetrics
from barecount_manifest import digest
from barecount_worker.domain.failure import ErrorType, StageFailed
from barecount_worker.domain.stage import DeadLetter, StageResult
from barecount_worker.slot.narrator import LINES_PER_ERROR_TYPE, Narrator
from barecount_worker.slot.order import stage_task
from barecount_worker.slot.wire import decode, encode

from tests.support.worker_fakes import CORRELATION, envelope, task
from tests.support.workers import bodies

pytestmark = pytest.mark.unit


def sample(**changed: Any) -> RunTask:
    made = task()
    everything = bodies()
    plan = made.plan.model_copy(update={"manifest_digest": digest(everything.manifest)})
    named = digest(plan.model_dump(mode="json", exclude_none=True))
    return made.model_copy(update={"plan": plan, "plan_digest": named, "bodies": everything, **changed})


def test_a_plan_that_is_not_what_was_approved_is_refused() -> None:
    order = sample(plan_digest="sha256:1")
    with pytest.raises(StageFailed, match="the plan is not sha256:1") as refused:
        stage_task(envelope(order), order)
    assert refused.value.error_type is ErrorType.TASK_INVALID


def test_a_contract_that_is_not_what_its_digest_names_is_refused() -> None:
    everything = bodies()
    forged = everything.contracts[0].model_copy(update={"document": {**everything.contracts[0].document, "status": "forged"}})
    order = sample(bodies=everything.model_copy(update={"contracts": (forged, *everything.contracts[1:])}))
    with pytest.raises(StageFailed, match=r"contract retail-transactions v1\.0"):
        stage_task(envelope(order), order)


def test_a_task_brings_its_chain_into_the_tables_log() -> None:
    order = sample()

    made = stage_task(envelope(order), order)

    assert made.facts["correlation"] == str(CORRELATION)
    assert made.facts["plan_digest"] == order.plan_digest
    assert made.contracts.keys() == {("retail-transactions", "v1.0"), ("revenue-kpi", "v3.2")}


def test_figures_checks_and_totals_stand_before_the_stages_last_line() -> None:
    told: list[tuple[str, str, dict[str, Any]]] = []
    narrator = Narrator(lambda *line: told.append(line))
    narrator.log("info", "stage-started", kind="publish")
    narrator.dead_letter(DeadLetter("type", "no number", "read", "a.csv", 7, 100, "x"))
    narrator.log("error", "stage-failed", error_type="reconciliation-failed", message="totals differ")
    narrator.end(
        StageResult(
            metrics=StageMetrics(records_in=3),
            checks=(CheckResult(name="day-required", holds=True), CheckResult(name="one-total", holds=False, failed_records=1, detail="2")),
            reconciliations=(Reconciliation(name="sales", expected="3.00", actual="2.00", difference="-1.00", holds=False),),
        )
    )

    assert [(level, event, fields.get("error_type")) for level, event, fields in told] == [
        ("info", "stage-started", None),
        ("warning", "records-dead-lettered", "type"),
        ("debug", "checked", None),
        ("error", "checked", "check-failed"),
        ("info", "checks-held", None),
        ("error", "reconciled", "reconciliation-failed"),
        ("error", "stage-failed", "reconciliation-failed"),
    ]
    assert told[5][2]["difference"] == "-1.00"
    assert told[6][2]["records_in"] == 3


def test_a_flood_of_bad_records_does_not_drown_the_log() -> None:
    told: list[str] = []
    narrator = Narrator(lambda level, event, fields: told.append(event))
    for line in range(1000):
        narrator.dead_letter(DeadLetter("type", "no number", "read", "a.csv", line, 0, "x"))
        narrator.log("warning", "record-dead-lettered", error_type="type", line=line)
    narrator.end(StageResult())

    assert told == ["record-dead-lettered"] * LINES_PER_ERROR_TYPE + ["records-dead-lettered"]


def test_a_message_is_one_line_whatever_it_holds() -> None:
    message = {"is": "dead", "payload": 'a\nb\r\u2028"\x00', "line": 7}

    assert encode(message).count(b"\n") == 1
    assert decode(encode(message)) == message
    with pytest.raises(ValueError, match="not a message"):
        decode(b"[]")
