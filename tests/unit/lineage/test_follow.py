"""Runs followed from their events: what is remembered, what is emitted, and what the OpenLineage event says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from barecount_contracts import (
    Bodies,
    ContractBody,
    ContractRef,
    DataPartitionPublished,
    Envelope,
    InputFile,
    Message,
    PlanSummary,
    Position,
    Publication,
    RunCancelled,
    RunFailed,
    RunQueued,
    RunRefused,
    RunStarted,
    RunSucceeded,
    RunTotals,
    StageMetrics,
    TaskFailed,
    TaskRef,
    TaskSucceeded,
    WorkerAnnounced,
)
from barecount_lineage.domain.describe import describe
from barecount_lineage.domain.follow import Emission, FollowState, emitted, follow, read_from
from barecount_lineage.domain.names import run_uuid

from tests.support.lineage import CONTRACTS, MANIFEST

ID = UUID("00000000-0000-5000-8000-000000000001")
AT = datetime(2025, 10, 5, 6, 0, tzinfo=UTC)
DAY = "2025-10-04"
LANDING = f"acme/landing/transactions/{DAY}.csv"
TABLE = "acme/prod/tables/revenue_kpi"
KPI = f"{TABLE}/day={DAY}"


def plan(rerun_of: str | None = None) -> PlanSummary:
    return PlanSummary(
        pipeline="revenue-kpi", environment="prod", manifest_version=2, manifest_digest="sha256:m",
        contract=ContractRef(name="revenue-kpi", version="v3.2"), data_partitions=(DAY,), mode="replay" if rerun_of else "run",
        rerun_of=rerun_of, root_run=rerun_of,
    )  # fmt: skip


def bodies(manifest: dict[str, Any] = MANIFEST) -> Bodies:
    contracts = tuple(ContractBody(name=c["name"], version=c["version"], digest="sha256:c", document=c) for c in CONTRACTS)
    return Bodies(manifest=manifest, contracts=contracts)


def queued(run: str = "r1", **more: Any) -> RunQueued:
    return RunQueued(
        run_id=run, pool="default", plan=plan(more.get("rerun_of")), plan_digest="sha256:p", bodies=more.get("bodies", bodies())
    )


def task(stage: str = "read") -> TaskRef:
    return TaskRef(stage=stage, data_partition=DAY, attempt=1, nonce="n", worker_id="w1", incarnation="i")


def totals(**more: Any) -> RunTotals:
    return RunTotals(records_in=9, records_out=9, dead_lettered=0, error_rate="0.000000", duration_ms=5, reconciled=True, **more)


def read(run: str = "r1") -> TaskSucceeded:
    files = (InputFile(path=LANDING, digest="sha256:f", bytes=400),)
    return TaskSucceeded(run_id=run, task=task(), metrics=StageMetrics(records_in=9), inputs=files)


def published(run: str = "r1", table: str = TABLE) -> DataPartitionPublished:
    publication = Publication(table=table, data_partition=DAY, delta_version=7, ticket=3, files_digest="sha256:d", records=5)
    return DataPartitionPublished(run_id=run, publication=publication)


def succeeded(run: str = "r1") -> RunSucceeded:
    return RunSucceeded(run_id=run, plan=plan(), plan_digest="sha256:p", totals=totals())


def at(offset: int) -> Position:
    return Position(topic="runs.events", partition=1, offset=offset)


def after(*payloads: Message, tenant: str = "acme") -> tuple[FollowState, list[Emission]]:
    state, emissions = FollowState(), []
    for offset, payload in enumerate(payloads):
        event = Envelope(id=ID, type=payload.TYPE, tenant=tenant, time=AT, correlation=ID, data=payload.to_data())
        state, emission = follow(state, event, at(offset))
        if emission is not None:
            emissions.append(emission)
    return state, emissions


def test_what_is_not_a_run_event_of_this_release_changes_nothing() -> None:
    event = Envelope(id=ID, type="RunPaused", version=9, tenant="acme", time=AT, correlation=ID, data={})
    assert follow(FollowState(), event, at(0)) == (FollowState(), None)


@pytest.mark.parametrize("payload", [RunStarted(run_id="x"), read("x"), published("x"), succeeded("x")])
def test_events_of_a_run_that_was_never_queued_change_nothing(payload: Message) -> None:
    assert after(payload) == (FollowState(), [])


def test_a_refused_run_is_forgotten_without_a_word() -> None:
    state, emissions = after(queued(), RunRefused(run_id="r1", code="run-exists", detail="taken"))
    assert (state, emissions) == (FollowState(), [])


def test_two_tenants_may_call_their_runs_the_same() -> None:
    assert run_uuid("acme", "r1") != run_uuid("bcme", "r1")
    state, _ = after(queued())
    other = Envelope(id=ID, type="RunSucceeded", tenant="bcme", time=AT, correlation=ID, data=succeeded().to_data())
    assert follow(state, other, at(9)) == (state, None)


def test_a_run_that_succeeded_says_start_and_complete_and_is_forgotten() -> None:
    state, emissions = after(queued(), RunStarted(run_id="r1"), read(), published(), succeeded())
    assert [item.event_type for item in emissions] == ["START", "COMPLETE"]
    assert len(state.runs) == 0


def test_the_start_names_what_the_plan_reads_and_writes() -> None:
    _, (start,) = after(queued(), RunStarted(run_id="r1"))
    event = describe(start, AT)
    assert [item["name"] for item in event["inputs"]] == [LANDING, LANDING.replace(".csv", ".control.json")]
    (output,) = event["outputs"]
    assert (output["namespace"], output["name"]) == ("file", KPI)
    assert "version" not in output["facets"]
    assert (event["job"]["namespace"], event["job"]["name"]) == ("barecount://acme/prod", "revenue-kpi")
    assert event["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2025-10-04T04:00:00Z"
    assert event["run"]["facets"]["nominalTime"]["nominalEndTime"] == "2025-10-05T04:00:00Z"


def test_the_end_names_what_was_read_and_published_with_versions() -> None:
    announced = WorkerAnnounced(worker_id="w1", incarnation="i", pool="default", slots=1, code_version="0.1.0")
    _, (_, end) = after(announced, queued(), RunStarted(run_id="r1"), read(), published(), succeeded())
    event = describe(end, AT)
    (landing,) = event["inputs"]
    assert landing["facets"]["version"]["datasetVersion"] == "sha256:f"
    assert landing["facets"]["barecount_file"]["digest"] == "sha256:f"
    assert (landing["inputFacets"]["inputStatistics"]["rowCount"], landing["inputFacets"]["inputStatistics"]["size"]) == (9, 400)
    (kpi,) = event["outputs"]
    assert kpi["name"] == KPI
    assert kpi["facets"]["version"]["datasetVersion"] == "7"
    assert kpi["outputFacets"]["outputStatistics"]["rowCount"] == 5
    assert kpi["facets"]["symlinks"]["identifiers"][0]["name"] == TABLE
    assert kpi["facets"]["barecount_contract"]["version"] == "v3.2"
    assert "revenue" in [field["name"] for field in kpi["facets"]["schema"]["fields"]]
    run = event["run"]["facets"]
    assert run["processing_engine"]["version"] == "0.1.0"
    assert (run["barecount_run"]["manifestVersion"], run["barecount_run"]["runId"]) == (2, "r1")
    assert "parent" not in run


@pytest.mark.parametrize(
    ("told", "name"), [("tables/revenue_kpi", KPI), (TABLE, KPI), ("tables/other", f"acme/prod/tables/other/day={DAY}")]
)
def test_a_table_has_one_name_whoever_tells_it(told: str, name: str) -> None:
    _, (_, end) = after(queued(), RunStarted(run_id="r1"), published(table=told), succeeded())
    assert [item["name"] for item in describe(end, AT)["outputs"]] == [name]


def test_revenue_comes_from_the_sales_values_of_the_landing_file() -> None:
    _, (_, end) = after(queued(), RunStarted(run_id="r1"), published(), succeeded())
    fields = describe(end, AT)["outputs"][0]["facets"]["columnLineage"]["fields"]
    (source,) = fields["revenue"]["inputFields"]
    assert (source["namespace"], source["name"], source["field"]) == ("file", LANDING, "sales_value")
    assert source["transformations"][0]["subtype"] == "AGGREGATION"


def test_a_failed_run_names_what_it_read_and_publishes_nothing() -> None:
    failed = TaskFailed(
        run_id="r1", task=task(), error_type="reconciliation", error_message="off by 3.10", retriable=False,
        metrics=StageMetrics(records_in=8), inputs=(InputFile(path=LANDING, digest="sha256:short", bytes=200),),
    )  # fmt: skip
    end = RunFailed(
        run_id="r1", plan=plan(), plan_digest="sha256:p", totals=totals(), stage="read", error_type="reconciliation", error_message="off"
    )
    _, (_, emission) = after(queued(), RunStarted(run_id="r1"), failed, end)
    event = describe(emission, AT)
    assert event["eventType"] == "FAIL"
    assert event["run"]["facets"]["errorMessage"]["message"] == "read: reconciliation: off"
    assert event["inputs"][0]["facets"]["version"]["datasetVersion"] == "sha256:short"
    assert event["outputs"] == []


def test_a_run_cancelled_before_it_started_aborts() -> None:
    end = RunCancelled(run_id="r1", plan=plan(), plan_digest="sha256:p", totals=totals(), reason="not wanted")
    _, (emission,) = after(queued(), end)
    event = describe(emission, AT)
    assert (event["eventType"], event["run"]["facets"]["barecount_run"]["reason"]) == ("ABORT", "not wanted")


def test_a_replay_names_the_run_it_repeats() -> None:
    _, (start,) = after(queued("r2", rerun_of="r1"), RunStarted(run_id="r2"))
    parent = describe(start, AT)["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == str(run_uuid("acme", "r1"))


def test_a_manifest_that_cannot_be_read_leaves_a_hole_that_is_named() -> None:
    _, (_, end) = after(queued(bodies=bodies({"kind": "Other"})), RunStarted(run_id="r1"), read(), published(), succeeded())
    event = describe(end, AT)
    assert "cannot be read" in event["run"]["facets"]["barecount_run"]["incomplete"]
    assert event["outputs"][0]["facets"]["version"]["datasetVersion"] == "7"
    assert event["inputs"][0]["name"] == LANDING


def test_the_payload_names_job_inputs_and_outputs() -> None:
    _, (_, end) = after(queued(), RunStarted(run_id="r1"), read(), published(), succeeded())
    payload = emitted(end, describe(end, AT))
    assert (payload.job, payload.inputs, payload.outputs) == ("barecount://acme/prod/revenue-kpi", (f"file:{LANDING}",), (f"file:{KPI}",))
    assert Envelope(id=ID, type="LineageEmitted", tenant="acme", time=AT, correlation=ID, data=payload.to_data()).payload() == payload


def test_a_restart_reads_from_the_oldest_run_that_has_not_ended() -> None:
    state, _ = after(queued("r0"), succeeded("r0"), queued("r1"), RunStarted(run_id="r1"), queued("r2"))
    assert read_from(state, {0: 7, 1: 5}) == {0: 7, 1: 2}
