"""Given a run's history, when a replay is asked for, proven and decided, then events."""

from __future__ import annotations

from typing import Any

import pytest
from barecount_contracts import (
    ApprovalRequested,
    ContractRef,
    DeletePipeline,
    LedgerFacts,
    ReplayApproved,
    ReplayRefused,
    ReplayRequested,
    ReplayRun,
    ReplayValidated,
    ReportLedgerFacts,
)
from barecount_manifest import digest

from tests.unit.command.history import History, code, sample
from tests.unit.command.test_contracts import contract
from tests.unit.command.test_pipelines import extra, update

RUN, OPERATOR, GOVERNOR = "rev_kpi_20251004_01", "user:operator", "user:governor"


def replay(**changes: Any) -> ReplayRun:
    return ReplayRun(**{"run_id": RUN, "contract_version": "v3.2", "data_partition": "2025-10-04", **changes})


def facts(**changes: Any) -> LedgerFacts:
    proven = {
        "found": True,
        "run_id": RUN,
        "pipeline": "revenue-kpi",
        "environment": "prod",
        "status": "failed",
        "data_partitions": ("2025-10-04",),
        "contract": ContractRef(name="revenue-kpi", version="v3.2"),
        "manifest_version": 1,
        "manifest_digest": digest(sample("revenue-kpi")),
        "leaf_index": 3,
        "leaf_hash": "ab" * 32,
        "tree_size": 9,
        "root_hash": "cd" * 32,
        "inclusion_verified": True,
        "checkpoint_verified": True,
    }
    return LedgerFacts(**{**proven, **changes})


def missing(**changes: Any) -> LedgerFacts:
    return LedgerFacts(**{"found": False, "run_id": RUN, "tree_size": 9, "root_hash": "cd" * 32, "checkpoint_verified": True, **changes})


def asked(history: History, *, by: str = OPERATOR, **changes: Any) -> str:
    (event,) = history.when(replay(**changes), by=by)
    assert isinstance(event, ReplayRequested)
    return event.request_id


def report(history: History, request: str, proven: LedgerFacts) -> list[Any]:
    return history.when(ReportLedgerFacts(request_id=request, facts=proven), by="service:command")


def test_a_replay_under_a_contract_version_registered_nowhere_is_refused_with_what_exists(ran: History) -> None:
    events = ran.when(replay(contract_version="v9.9"), by=OPERATOR)
    assert code(events) == "unknown-contract-version"
    assert extra(events)["exists"] == [{"name": "revenue-kpi", "version": "v3.2"}]


def test_a_replay_of_what_is_no_day_is_refused(ran: History) -> None:
    assert code(ran.when(replay(data_partition="2025-13-01"))) == "invalid-data-partition"


@pytest.mark.parametrize("version", ["0", "-1", "newest", "1.0", "01", "", "²"])
def test_a_replay_of_what_is_no_manifest_version_is_refused(ran: History, version: str) -> None:
    assert code(ran.when(replay(manifest_version=version))) == "unknown-manifest-version"


@pytest.mark.parametrize(
    ("said", "proven", "expected"),
    [
        ({}, missing(), "run-not-ended"),
        ({"run_id": "r9"}, missing(run_id="r9"), "run-not-found"),
        ({"data_partition": "2025-10-05"}, facts(), "partition-not-of-run"),
        ({"contract_version": "v1.0"}, facts(), "contract-mismatch"),
        ({}, facts(inclusion_verified=False), "evidence-not-proven"),
        ({}, facts(checkpoint_verified=False), "evidence-not-proven"),
        ({}, missing(checkpoint_verified=False), "evidence-not-proven"),
        ({}, facts(run_id="another"), "evidence-not-proven"),
        ({}, facts(manifest_digest="sha256:00"), "evidence-not-proven"),
        ({"manifest_version": "7"}, facts(), "unknown-manifest-version"),
    ],
)
def test_what_the_ledger_does_not_prove_is_refused(ran: History, said: Any, proven: LedgerFacts, expected: str) -> None:
    (event,) = report(ran, asked(ran, **said), proven)
    assert isinstance(event, ReplayRefused)
    assert event.code == expected
    assert event.facts == proven


def test_a_refusal_says_what_the_run_had_and_what_it_ran_under(ran: History) -> None:
    (partition,) = report(ran, asked(ran, data_partition="2025-10-05"), facts())
    (version,) = report(ran, asked(ran, contract_version="v1.0"), facts())
    assert partition.extra == {"had": ["2025-10-04"]}
    assert version.extra == {"ran_under": {"name": "revenue-kpi", "version": "v3.2"}}


def test_a_replay_of_a_retired_pipeline_is_refused(ran: History) -> None:
    request = asked(ran)
    ran.when(DeletePipeline(name="revenue-kpi"))
    assert code(report(ran, request, facts())) == "pipeline-deleted"


def test_another_tenants_run_is_not_found(ran: History) -> None:
    ran.when(contract(), tenant="globex")
    (event,) = ran.when(replay(), tenant="globex")
    assert isinstance(event, ReplayRequested)
    reported = ReportLedgerFacts(request_id=event.request_id, facts=missing())
    assert code(ran.when(reported, tenant="globex")) == "run-not-found"
    assert code(ran.when(reported)) == "request-not-found"


def test_facts_are_judged_once(ran: History) -> None:
    request = asked(ran)
    report(ran, request, facts())
    assert code(report(ran, request, facts())) == "request-not-waiting"


def test_a_failed_data_partition_under_its_contract_is_approved_by_policy(ran: History) -> None:
    validated, approved = report(ran, asked(ran), facts())
    assert isinstance(validated, ReplayValidated)
    assert isinstance(approved, ReplayApproved)
    assert (approved.by, approved.rule) == ("policy", "governance.replay.failed_under_same_contract")
    assert approved.new_run_id == f"{RUN}-replay-1"
    assert (approved.plan.mode, approved.plan.rerun_of, approved.plan.root_run) == ("replay", RUN, RUN)
    assert approved.plan.environment == "prod"
    assert approved.plan_digest == validated.plan_digest == digest(approved.plan.model_dump(mode="json", exclude_none=True))


def test_a_failed_run_that_had_published_waits_for_a_person(ran: History) -> None:
    _, waits = report(ran, asked(ran), facts(published=("2025-10-04",)))
    assert isinstance(waits, ApprovalRequested)
    assert (waits.rule, waits.requested_by) == ("governance.replay.otherwise", OPERATOR)


def test_a_failed_data_partition_that_another_run_took_since_waits_for_a_person(ran: History) -> None:
    (_, first), (_, second) = (report(ran, asked(ran), facts()) for _ in range(2))
    assert isinstance(first, ReplayApproved)
    assert isinstance(second, ApprovalRequested)
    assert f"run {RUN}-replay-1 was admitted for it since" in second.reason


def test_every_replay_of_a_chain_gets_its_own_id(ran: History) -> None:
    report(ran, asked(ran), facts())
    again = report(ran, asked(ran, run_id=f"{RUN}-replay-1"), facts(run_id=f"{RUN}-replay-1", root_run=RUN))
    assert isinstance(again[1], ReplayApproved)
    assert again[1].new_run_id == f"{RUN}-replay-2"
    assert (again[1].plan.rerun_of, again[1].plan.root_run) == (f"{RUN}-replay-1", RUN)


def test_a_replay_runs_the_manifest_that_ran_unless_said_otherwise(ran: History) -> None:
    ran.when(update(owner="finance"))
    versions = [report(ran, asked(ran, manifest_version=said), facts())[0].plan.manifest_version for said in ("as_run", "latest", "1", "2")]
    assert versions == [1, 2, 1, 2]
