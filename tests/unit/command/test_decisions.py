"""Given a replay that waits for a person, when one decides, then events. Whatever happened meanwhile, what was approved is what runs."""

from __future__ import annotations

from typing import Any

import pytest
from barecount_contracts import (
    ApprovalRejected,
    ApprovalRequested,
    DecideRequest,
    DeletePipeline,
    Message,
    PlanSummary,
    RegisterPublisher,
    ReplayApproved,
    ReplayRefused,
    ReplayValidated,
)
from barecount_manifest import digest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.command.history import History, code, sample
from tests.unit.command.test_contracts import contract
from tests.unit.command.test_pipelines import promote, start, update
from tests.unit.command.test_replays import GOVERNOR, OPERATOR, RUN, asked, facts, report
from tests.unit.command.test_state import MOVES, OPENING, moves


@pytest.fixture
def waiting(ran: History) -> tuple[History, ApprovalRequested]:
    return ran, waits(ran)


def waits(history: History, **words: Any) -> ApprovalRequested:
    """Another request for the run, which succeeded: it waits for a person."""
    validated, request = report(history, asked(history, **words), facts(status="succeeded", published=("2025-10-04",)))
    assert isinstance(validated, ReplayValidated)
    assert isinstance(request, ApprovalRequested)
    return request


def decision(request: ApprovalRequested, **changes: Any) -> DecideRequest:
    said = {"request_id": request.request_id, "decision": "approve", "reason": "as agreed", "plan_digest": request.plan_digest}
    return DecideRequest(**{**said, **changes})


def approve(history: History, request: ApprovalRequested) -> list[Message]:
    return history.when(decision(request), by=GOVERNOR)


def stale(events: list[Message]) -> dict[str, Any]:
    """The difference that the refusal names."""
    (event,) = events
    assert isinstance(event, ReplayRefused)
    assert event.code == "plan-stale"
    found: dict[str, Any] = event.extra["difference"]
    return found


def test_a_decision_about_nothing_is_refused(waiting: tuple[History, ApprovalRequested]) -> None:
    history, request = waiting
    assert code(history.when(decision(request, request_id="none"), by=GOVERNOR)) == "request-not-found"
    assert code(history.when(decision(request), by=GOVERNOR, tenant="globex")) == "request-not-found"


def test_nobody_decides_their_own_request(waiting: tuple[History, ApprovalRequested]) -> None:
    history, request = waiting
    assert code(history.when(decision(request), by=OPERATOR)) == "own-request"
    assert code(history.when(decision(request, decision="reject"), by=OPERATOR)) == "own-request"


def test_a_decision_about_another_plan_is_refused(waiting: tuple[History, ApprovalRequested]) -> None:
    history, request = waiting
    assert code(history.when(decision(request, plan_digest="sha256:00"), by=GOVERNOR)) == "plan-mismatch"


def test_a_decision_before_the_ledger_has_spoken_is_refused(ran: History) -> None:
    said = DecideRequest(request_id=asked(ran), decision="approve", reason="hurry", plan_digest="sha256:00")
    assert code(ran.when(said, by=GOVERNOR)) == "request-not-waiting"


def test_a_decision_is_spent_once(waiting: tuple[History, ApprovalRequested]) -> None:
    history, request = waiting
    (event,) = approve(history, request)
    assert isinstance(event, ReplayApproved)
    assert (event.by, event.plan_digest, event.reason) == ("person", request.plan_digest, "as agreed")
    assert code(approve(history, request)) == "request-not-waiting"
    assert code(history.when(decision(request, decision="reject"), by=GOVERNOR)) == "request-not-waiting"


def test_a_person_can_say_no_and_that_is_spent_too(waiting: tuple[History, ApprovalRequested]) -> None:
    history, request = waiting
    (event,) = history.when(decision(request, decision="reject", reason="audited already"), by=GOVERNOR)
    assert isinstance(event, ApprovalRejected)
    assert event.reason == "audited already"
    assert code(approve(history, request)) == "request-not-waiting"


def test_the_answer_belongs_to_the_chain_of_who_asked(waiting: tuple[History, ApprovalRequested]) -> None:
    history, request = waiting
    chain = next(event.correlation for event in history.log if event.type == "ReplayRequested")
    approve(history, request)
    assert history.log[-1].correlation == chain
    assert history.log[-1].principal == GOVERNOR


def test_what_was_latest_then_and_is_not_now_is_refused_with_the_difference(ran: History) -> None:
    request = waits(ran, manifest_version="latest")
    ran.when(update(owner="finance"))
    first, second = digest(sample("revenue-kpi")), digest(sample("revenue-kpi", owner="finance"))
    assert stale(approve(ran, request)) == {
        "manifest_version": {"was": 1, "is": 2},
        "manifest_digest": {"was": first, "is": second},
    }


def test_a_latest_that_promises_another_contract_by_now_is_refused_with_it(ran: History) -> None:
    request = waits(ran, manifest_version="latest")
    ran.when(contract(version="v4.0"))
    sinks = sample("revenue-kpi")["sinks"]
    sinks[0]["contract"]["version"] = "v4.0"
    ran.when(update(sinks=sinks))
    difference = stale(approve(ran, request))
    assert difference["contract"] == {
        "was": {"name": "revenue-kpi", "version": "v3.2"},
        "is": {"name": "revenue-kpi", "version": "v4.0"},
    }


@pytest.mark.parametrize("words", [{}, {"manifest_version": "1"}])
def test_a_version_that_was_named_stays_what_it_was_whatever_is_newer_or_deployed(ran: History, words: dict[str, Any]) -> None:
    request = waits(ran, **words)
    ran.when(update(owner="finance"))
    ran.when(promote())
    (event,) = approve(ran, request)
    assert isinstance(event, ReplayApproved)
    assert event.plan == request.plan


def test_a_data_partition_that_another_run_took_since_is_refused_with_that_run(waiting: tuple[History, ApprovalRequested]) -> None:
    history, request = waiting
    history.when(start(run_id="rev_kpi_20251004_02"))
    assert stale(approve(history, request)) == {"newest_run": {"was": RUN, "is": "rev_kpi_20251004_02"}}


def test_of_two_requests_for_one_data_partition_the_second_is_stale_once_the_first_is_approved(ran: History) -> None:
    first, second = waits(ran), waits(ran)
    assert isinstance(approve(ran, first)[0], ReplayApproved)
    assert stale(approve(ran, second)) == {"newest_run": {"was": RUN, "is": f"{RUN}-replay-1"}}


def test_runs_of_other_days_and_environments_change_nothing(waiting: tuple[History, ApprovalRequested]) -> None:
    history, request = waiting
    history.when(start("2025-10-05"))
    history.when(start(environment="dev"))
    assert isinstance(approve(history, request)[0], ReplayApproved)


def test_a_stale_request_has_ended_and_asking_again_shows_a_new_plan(waiting: tuple[History, ApprovalRequested]) -> None:
    history, request = waiting
    history.when(start(run_id="another"))
    assert code(approve(history, request)) == "plan-stale"
    assert code(approve(history, request)) == "request-not-waiting"
    assert isinstance(approve(history, waits(history))[0], ReplayApproved)


def test_a_stale_request_can_still_be_rejected(waiting: tuple[History, ApprovalRequested]) -> None:
    history, request = waiting
    history.when(start(run_id="another"))
    assert isinstance(history.when(decision(request, decision="reject"), by=GOVERNOR)[0], ApprovalRejected)


def test_an_approval_for_a_pipeline_retired_since_is_refused_and_ends_the_request(waiting: tuple[History, ApprovalRequested]) -> None:
    history, request = waiting
    history.when(DeletePipeline(name="revenue-kpi"))
    assert code(approve(history, request)) == "pipeline-deleted"
    assert code(approve(history, request)) == "request-not-waiting"


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["as_run", "latest", "1"]), moves, moves)
def test_whatever_happened_meanwhile_an_approved_plan_is_the_one_that_was_shown_and_still_true(
    said: str, before: list[tuple[str, str, str]], between: list[tuple[str, str, str]]
) -> None:
    history = History()
    for move in OPENING:
        history.when(MOVES[move](history))
    for move, tenant, by in before:
        history.when(MOVES[move](history), tenant=tenant, by=by)
    events = report(history, asked(history, manifest_version=said), facts(status="succeeded"))
    if isinstance(events[0], ReplayRefused):
        return
    request = events[1]
    asked_at = len(history.log)
    for move, tenant, by in between:
        history.when(MOVES[move](history), tenant=tenant, by=by)
    acme = [event for event in history.log[asked_at:] if event.tenant == "acme"]
    (answer,) = approve(history, request)
    if not isinstance(answer, ReplayApproved):
        return
    assert (answer.plan, answer.plan_digest) == (request.plan, request.plan_digest)
    assert answer.plan_digest == digest(answer.plan.model_dump(mode="json", exclude_none=True))
    kinds = {event.type for event in acme}
    assert "PipelineDeleted" not in kinds
    assert said != "latest" or "PipelineUpdated" not in kinds
    taken = [PlanSummary.model_validate(event.data["plan"]) for event in acme if event.type in ("RunRequested", "ReplayApproved")]
    assert not [plan for plan in taken if (plan.environment, plan.data_partitions) == ("prod", ("2025-10-04",))]


def test_nobody_who_ever_registered_a_key_of_a_publisher_decides_its_requests(ran: History) -> None:
    first, second = "user:registered-first", "user:registered-again"
    for by, key in ((first, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"), (second, "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw")):
        assert code(ran.when(RegisterPublisher(name="ci", public_key=key, roles=("operator",)), by=by)) == "PublisherRegistered"
    request = waits(ran, by="publisher:acme/ci")
    for by in (first, second, "publisher:acme/ci"):
        assert code(ran.when(decision(request), by=by)) == "own-request"
    assert code(approve(ran, request)) == "ReplayApproved"
