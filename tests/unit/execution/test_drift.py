"""A source that is not what it used to be: told beside the run, and stopping nothing."""

from __future__ import annotations

from typing import Any

import pytest
from barecount_contracts import SOURCE_COLUMNS, CheckResult, DriftDetected, Message, ReportTaskFailed, StageMetrics
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.execution.world import World, manifest, names, success


def day(number: int) -> str:
    return f"2025-10-{number:02}"


def ran(world: World, number: int, records: int, **admit: Any) -> list[Message]:
    """A day's run that reads so many records; the answer that ends it."""
    world.admit(f"run_{number}_{world.offset}", day(number), **admit)
    report = success(world.task)
    world.send(report.model_copy(update={"metrics": StageMetrics(records_in=records, records_out=records)}))
    world.succeeded()
    return world.succeeded()


def world_with(*counts: int) -> World:
    world = World()
    world.announce()
    for number, records in enumerate(counts, 1):
        assert "DriftDetected" not in names(ran(world, number, records))
    return world


def failed(world: World, records: int, *checks: CheckResult) -> list[Message]:
    """The read stage fails for good over its records."""
    world.admit("run_bad", day(30))
    return world.send(
        ReportTaskFailed(
            run_id="run_bad",
            task=world.task.task,
            error_type="dead-letter-threshold",
            error_message="too many",
            retriable=False,
            metrics=StageMetrics(records_in=records),
            checks=checks,
        )
    )


def drift(messages: list[Message]) -> list[DriftDetected]:
    return [message for message in messages if isinstance(message, DriftDetected)]


@pytest.mark.parametrize(("records", "drifts"), [(49, True), (50, False), (100, False), (200, False), (201, True), (0, True)])
def test_a_volume_outside_half_and_double_the_median_is_drift(records: int, drifts: bool) -> None:
    world = world_with(80, 100, 150)
    ended = ran(world, 4, records)
    assert names(ended)[-1] == "RunSucceeded"
    assert bool(drift(ended)) == drifts
    if drifts:
        (found,) = drift(ended)
        assert (found.kind, found.dataset, found.data_partition, found.environment) == ("volume", "transactions", day(4), "prod")
        assert found.expected == "50 to 200 records (the median of 3 data partitions is 100)"
        assert found.actual == f"{records} records"


def test_before_three_days_nobody_knows_what_is_usual() -> None:
    world_with(100, 5000)


def test_the_median_of_an_even_number_keeps_its_half() -> None:
    world = world_with(10, 10, 11, 11)
    (found,) = drift(ran(world, 5, 1))
    assert found.expected == "5.25 to 21 records (the median of 4 data partitions is 10.5)"


def test_a_run_that_failed_over_its_records_is_drift_too_but_is_not_remembered() -> None:
    world = world_with(100, 100, 100)
    before = world.state.volumes
    ended = failed(world, 10)
    assert [name for name in names(ended) if name in ("DriftDetected", "RunFailed")] == ["DriftDetected", "RunFailed"]
    assert world.state.volumes == before


def test_a_run_that_never_read_its_source_says_nothing_about_its_volume() -> None:
    world = world_with(100, 100, 100)
    assert "DriftDetected" not in names(failed(world, 0))


def test_a_replayed_day_counts_once_and_is_not_measured_by_itself() -> None:
    world = world_with(100, 100, 100)
    for _ in range(5):
        assert drift(ran(world, 4, 900))
    assert [count for _, count in next(iter(world.state.volumes.values()))] == [100, 100, 100, 900]


def test_ten_days_are_remembered() -> None:
    world = world_with(*(100 + number for number in range(14)))
    assert [count for _, count in next(iter(world.state.volumes.values()))] == [100 + number for number in range(4, 14)]


def test_another_environment_or_tenant_has_its_own_past() -> None:
    world = world_with(100, 100, 100)
    world.admit("run_x", day(9), tenant="globex")
    report = success(world.task)
    world.send(report.model_copy(update={"metrics": StageMetrics(records_in=1)}), tenant="globex")
    for _ in range(2):
        ended = world.send(success(world.task), tenant="globex")
    assert names(ended)[-1] == "RunSucceeded"
    assert not drift(ended)


def test_a_manifest_may_set_its_own_bounds() -> None:
    document = {**manifest(), "drift": {"volume": {"min_ratio": "0.9", "max_ratio": "1.1"}}}
    world = world_with(100, 100, 100)
    assert not drift(ran(world, 4, 95, document=document))
    assert drift(ran(world, 5, 80, document=document))


def test_columns_that_the_contract_does_not_have_are_drift_and_the_run_goes_on() -> None:
    world = world_with()
    world.admit("run_1", day(1))
    check = CheckResult(name=SOURCE_COLUMNS, holds=False, detail="additional: loyalty_id")
    answer = world.send(success(world.task).model_copy(update={"checks": (check,)}))
    assert names(answer) == ["TaskSucceeded", "DriftDetected", "TaskDispatched"]
    (found,) = drift(answer)
    assert (found.kind, found.dataset, found.data_partition) == ("schema", "transactions", day(1))
    assert (found.expected, found.actual) == ("the columns of retail v1", "additional: loyalty_id")


def test_columns_that_are_missing_fail_the_run_and_are_drift_too() -> None:
    world = world_with()
    ended = failed(world, 0, CheckResult(name=SOURCE_COLUMNS, holds=False, detail="missing: basket_id"))
    assert [name for name in names(ended) if name in ("TaskFailed", "DriftDetected", "RunFailed")] == [
        "TaskFailed", "DriftDetected", "RunFailed",
    ]  # fmt: skip
    assert drift(ended)[0].actual == "missing: basket_id"


def test_columns_as_agreed_and_other_checks_are_no_drift() -> None:
    world = world_with()
    world.admit("run_1", day(1))
    checks = (CheckResult(name=SOURCE_COLUMNS, holds=True), CheckResult(name="amount-positive", holds=False))
    answer = world.send(success(world.task).model_copy(update={"checks": checks}))
    assert not drift(answer)
    # a rule of a contract may have any name; only a read stage speaks about the columns of a source
    later = success(world.task).model_copy(update={"checks": (CheckResult(name=SOURCE_COLUMNS, holds=False),)})
    assert not drift(world.send(later))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 400)), max_size=8))
def test_the_past_is_the_same_from_the_log_and_from_a_snapshot(days: list[tuple[int, int]]) -> None:
    world = World()
    world.announce()
    for number, records in days:
        ran(world, number, records)
    assert world.restored() == world.state
    assert world.decider.load(world.decider.dump(world.state)) == world.state
