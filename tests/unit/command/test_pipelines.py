"""Given events, when a pipeline is changed or run, then events."""

from __future__ import annotations

from typing import Any

import pytest
from barecount_command.domain.state import terms_in
from barecount_contracts import (
    CancelRun,
    CommandDuplicated,
    CommandRefused,
    CreatePipeline,
    DeletePipeline,
    PipelineCreated,
    PipelinePromoted,
    PipelineUpdated,
    PromotePipeline,
    RegisterContract,
    RunCancelRequested,
    RunRequested,
    StartRun,
    UpdatePipeline,
)
from barecount_manifest import digest, parse

from tests.unit.command.history import History, code, sample
from tests.unit.command.test_contracts import contract


def create(**changes: Any) -> CreatePipeline:
    return CreatePipeline(name="revenue-kpi", manifest=sample("revenue-kpi", **changes))


def update(expected: int | None = None, **changes: Any) -> UpdatePipeline:
    return UpdatePipeline(name="revenue-kpi", manifest=sample("revenue-kpi", **changes), expected_version=expected)


def promote(source: Any = "dev", target: Any = "prod", version: int | None = None) -> PromotePipeline:
    return PromotePipeline(name="revenue-kpi", from_environment=source, to_environment=target, version=version)


def start(partition: str = "2025-10-04", **more: Any) -> StartRun:
    return StartRun(pipeline="revenue-kpi", data_partition=partition, **more)


@pytest.fixture
def registered() -> History:
    history = History()
    history.when(contract("retail-transactions"))
    history.when(contract())
    return history


@pytest.fixture
def created(registered: History) -> History:
    registered.when(create())
    return registered


@pytest.fixture
def in_prod(created: History) -> History:
    created.when(promote())
    return created


def extra(events: Any) -> dict[str, Any]:
    assert isinstance(events[0], CommandRefused)
    return events[0].extra


def test_a_manifest_that_names_an_unknown_contract_is_refused_with_what_exists() -> None:
    history = History()
    history.when(contract())
    events = history.when(create())
    assert code(events) == "unknown-contract"
    assert extra(events)["missing"] == [{"name": "retail-transactions", "version": "v1.0"}]
    assert extra(events)["exists"] == [{"name": "revenue-kpi", "version": "v3.2"}]


def test_a_manifest_that_names_an_unknown_contract_version_is_refused_with_the_versions(registered: History) -> None:
    sinks = [{**sample("revenue-kpi")["sinks"][0], "contract": {"name": "revenue-kpi", "version": "v9.9"}}]
    events = registered.when(create(sinks=sinks))
    assert code(events) == "unknown-contract-version"
    assert extra(events)["exists"] == [{"name": "revenue-kpi", "version": "v3.2"}]


def test_another_tenants_contracts_do_not_exist(registered: History) -> None:
    events = registered.when(create(), tenant="globex")
    assert code(events) == "unknown-contract"
    assert extra(events)["exists"] == []


def test_an_invalid_manifest_is_refused_with_every_problem(registered: History) -> None:
    events = registered.when(create(pool=7, partitioning={"by": "hour", "column": "day", "timezone": "Mars/Base"}))
    assert code(events) == "invalid-manifest"
    assert {"/pool", "/partitioning/by", "/partitioning/timezone"} <= {one["path"] for one in extra(events)["errors"]}


def test_a_manifest_under_another_name_is_refused(registered: History) -> None:
    assert code(registered.when(CreatePipeline(name="other", manifest=sample("revenue-kpi")))) == "name-mismatch"


def test_a_pipeline_that_exists_is_not_created_again(created: History) -> None:
    assert code(created.when(create())) == "pipeline-exists"


def test_a_retired_name_is_not_used_again(created: History) -> None:
    created.when(DeletePipeline(name="revenue-kpi"))
    for command in (create(), update(), promote(), DeletePipeline(name="revenue-kpi"), start(environment="dev")):
        assert code(created.when(command)) == "pipeline-deleted"


def test_commands_for_a_pipeline_of_another_tenant_find_none(created: History) -> None:
    for command in (update(), promote(), DeletePipeline(name="revenue-kpi"), start()):
        assert code(created.when(command, tenant="globex")) == "pipeline-not-found"


def test_an_update_of_another_version_than_the_newest_is_refused(created: History) -> None:
    events = created.when(update(expected=7))
    assert code(events) == "version-conflict"
    assert extra(events) == {"newest": 1}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (promote("staging", "prod"), "nothing-to-promote"),
        (promote(version=2), "version-conflict"),
        (promote("prod", "dev"), "invalid-request"),
        (promote("dev", "dev"), "invalid-request"),
    ],
)
def test_a_promotion_that_cannot_be_is_refused(created: History, command: PromotePipeline, expected: str) -> None:
    assert code(created.when(command)) == expected


def test_a_promotion_of_what_runs_already_is_refused(in_prod: History) -> None:
    assert code(in_prod.when(promote())) == "nothing-to-promote"


def test_a_run_in_an_environment_that_runs_nothing_is_refused(created: History) -> None:
    events = created.when(start())
    assert code(events) == "not-deployed"
    assert extra(events) == {"environments": {"dev": 1}}


@pytest.mark.parametrize("partition", ["2025-02-30", "2025-1-1", "yesterday", "", "2025-10-04T00:00", "２０２５-10-04"])
def test_a_run_for_what_is_no_day_is_refused(in_prod: History, partition: str) -> None:
    assert code(in_prod.when(start(partition))) == "invalid-data-partition"


def test_a_run_id_is_taken_once(in_prod: History) -> None:
    in_prod.when(start(run_id="r1"))
    assert code(in_prod.when(start("2025-10-05", run_id="r1"))) == "run-exists"


@pytest.mark.parametrize("run_id", ["a/b", "-a", "a" * 121, "a b"])
def test_a_run_id_that_is_no_path_segment_is_refused(in_prod: History, run_id: str) -> None:
    assert code(in_prod.when(start(run_id=run_id))) == "invalid-request"


def test_a_cancel_of_an_unknown_run_is_refused(in_prod: History) -> None:
    in_prod.when(start(run_id="r1"))
    assert code(in_prod.when(CancelRun(run_id="r2"))) == "run-not-found"
    assert code(in_prod.when(CancelRun(run_id="r1"), tenant="globex")) == "run-not-found"


def test_a_record_whose_key_is_not_the_tenant_is_refused(in_prod: History) -> None:
    assert code(in_prod.when(start(), key="globex")) == "wrong-partition"


def test_a_pipeline_is_created_in_dev(registered: History) -> None:
    (event,) = registered.when(create())
    assert isinstance(event, PipelineCreated)
    assert (event.version, event.environment, event.digest) == (1, "dev", digest(sample("revenue-kpi")))


def test_versions_count_up_and_the_newest_runs_in_dev(in_prod: History) -> None:
    (event,) = in_prod.when(update(expected=1, owner="finance"))
    assert isinstance(event, PipelineUpdated)
    assert event.version == 2
    assert dict(in_prod.state.of("acme").pipelines["revenue-kpi"].environments) == {"dev": 2, "prod": 1}


def test_the_same_manifest_again_is_no_new_version(created: History) -> None:
    (event,) = created.when(update())
    assert isinstance(event, CommandDuplicated)
    assert created.state.of("acme").pipelines["revenue-kpi"].newest == 1


def test_a_version_goes_through_staging_or_directly(created: History) -> None:
    (staged,) = created.when(promote("dev", "staging"))
    (live,) = created.when(promote("staging", "prod", version=1))
    assert isinstance(staged, PipelinePromoted)
    assert isinstance(live, PipelinePromoted)
    assert live.digest == digest(sample("revenue-kpi"))


def test_a_run_runs_what_its_environment_runs(in_prod: History) -> None:
    in_prod.when(update(owner="finance"))
    (event,) = in_prod.when(start(run_id="rev_kpi_20251004_01"))
    assert isinstance(event, RunRequested)
    assert event.plan.manifest_version == 1
    assert event.plan.contract.version == "v3.2"
    assert event.plan.data_partitions == ("2025-10-04",)
    assert event.plan_digest == digest(event.plan.model_dump(mode="json", exclude_none=True))
    (cancel,) = in_prod.when(CancelRun(run_id="rev_kpi_20251004_01", reason="wrong day"))
    assert isinstance(cancel, RunCancelRequested)


def test_a_run_without_an_id_is_named_after_its_command(in_prod: History) -> None:
    (event,) = in_prod.when(start())
    assert isinstance(event, RunRequested)
    assert event.run_id == f"revenue-kpi-2025-10-04-{in_prod.last_id().hex[:12]}"


def test_a_text_that_no_database_can_keep_is_refused(registered: History) -> None:
    assert code(registered.when(create(description="a\x00b"))) == "invalid-request"


def test_a_text_that_speaks_of_such_a_character_is_kept(registered: History) -> None:
    (event,) = registered.when(create(description="write \\u0000 for it"))
    assert isinstance(event, PipelineCreated)


def test_a_manifest_whose_contracts_do_not_fit_one_task_is_refused(registered: History) -> None:
    sources = list(sample("revenue-kpi")["sources"])
    for number in range(4):
        name = f"large-{number}"
        document = {**sample("retail-transactions.odcs"), "name": name, "tags": ["x" * 200_000]}
        assert code(registered.when(RegisterContract(name=name, version="v1.0", document=document))) == "ContractRegistered"
        path = f"landing/{name}/{{partition}}.csv"
        more = {"name": name.replace("-", "_"), "format": "csv", "path": path, "contract": {"name": name, "version": "v1.0"}}
        sources.append(more)
    assert code(registered.when(create(sources=sources))) == "payload-too-large"
    assert code(registered.when(create(sources=sources[:-2]))) == "PipelineCreated"


ABSENT: Any = object()


@pytest.mark.parametrize("pool", [ABSENT, "large"])
@pytest.mark.parametrize("by", [ABSENT, "day"])
@pytest.mark.parametrize(
    "governance",
    [
        ABSENT,
        {},
        {"replay": {}},
        {"replay": {"otherwise": "policy"}},
        {"replay": {"failed_under_same_contract": "policy", "otherwise": "person"}},
    ],
)
def test_the_terms_that_are_remembered_are_those_of_the_manifest(pool: Any, by: Any, governance: Any) -> None:
    document = sample("revenue-kpi")
    document["partitioning"].pop("by", None)
    for part, field, value in ((document, "pool", pool), (document["partitioning"], "by", by), (document, "governance", governance)):
        part.pop(field, None)
        if value is not ABSENT:
            part[field] = value
    manifest, terms = parse(document), terms_in(document)
    rules, contract = manifest.governance.replay, manifest.sinks[0].contract
    assert terms.contract == (contract.name, contract.version)
    assert (terms.partitioned_by, terms.pool) == (manifest.partitioning.by, manifest.pool)
    assert (terms.failed_under_same_contract, terms.otherwise) == (rules.failed_under_same_contract, rules.otherwise)
