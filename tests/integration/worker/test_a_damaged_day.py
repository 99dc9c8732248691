"""The sample's damaged delivery, and other things that go wrong with data: named, counted, and never published."""

from __future__ import annotations

import json

import pytest
from barecount_worker.domain.failure import ErrorType
from barecount_worker.domain.stop import Stop
from deltalake import DeltaTable

from .conftest import DAY, Retailer


def test_a_truncated_delivery_is_dead_lettered_and_fails_the_reconciliation(retailer: Retailer) -> None:
    delivery = retailer.deliver(damaged=True)
    attempt = retailer.run()
    assert attempt.failed_stage == "publish"
    assert attempt.failure is not None
    assert attempt.failure.error_type is ErrorType.RECONCILIATION_FAILED
    assert not attempt.failure.retriable
    sales = {one.name: one for one in attempt.failure.result.reconciliations}["revenue-equals-control-total"]
    assert (sales.expected, sales.holds) == ("10928.00", False)
    assert float(sales.expected) + float(sales.difference) == pytest.approx(float(sales.actual))
    assert attempt.results["read"].metrics.dead_lettered == len(attempt.dead) == 7
    assert {letter.error_type for letter in attempt.dead} == {"type", "column-count"}
    text = delivery.data.read_bytes()
    for letter in attempt.dead:
        assert text[letter.byte_offset :].decode().startswith(letter.payload)
        assert text[: letter.byte_offset].count(b"\n") + 1 == letter.line
    assert not retailer.table.exists()


def test_a_damaged_redelivery_leaves_the_table_as_it_was(retailer: Retailer) -> None:
    retailer.deliver()
    assert retailer.run("run-1", 3).failure is None
    before = DeltaTable(retailer.table)
    retailer.deliver(damaged=True)
    assert retailer.run("run-2", 5).failure is not None
    after = DeltaTable(retailer.table)
    assert after.version() == before.version()
    assert after.to_pyarrow_table().equals(before.to_pyarrow_table())


def test_a_replay_after_the_whole_delivery_succeeds(retailer: Retailer) -> None:
    retailer.deliver(damaged=True)
    assert retailer.run("run-1", 3).failure is not None
    retailer.deliver()
    assert retailer.run("run-2", 5).failure is None


@pytest.mark.parametrize(("limit", "value"), [("max_records", 6), ("max_fraction", "0.003")])
def test_more_bad_records_than_the_manifest_allows_fail_the_read(retailer: Retailer, limit: str, value: object) -> None:
    retailer.document["dlq"][limit] = value
    retailer.deliver(damaged=True)
    attempt = retailer.run()
    assert attempt.failed_stage == "read"
    assert attempt.failure is not None
    assert attempt.failure.error_type is ErrorType.DEAD_LETTER_THRESHOLD
    assert attempt.failure.result.metrics.dead_lettered == len(attempt.dead) == 7
    assert attempt.failure.result.inputs


def test_a_cent_too_little_is_not_reconciled(retailer: Retailer) -> None:
    delivery = retailer.deliver()
    delivery.control.write_text(json.dumps({"records": 3427, "sales_value": "10928.01"}))
    failure = retailer.run().failure
    assert failure is not None
    assert failure.error_type is ErrorType.RECONCILIATION_FAILED
    assert {one.difference for one in failure.result.reconciliations if not one.holds} == {"-0.01"}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", ErrorType.CONTROL_UNREADABLE),
        ('{"records": "many", "sales_value": "1"}', ErrorType.CONTROL_UNREADABLE),
        ("[]", ErrorType.CONTROL_UNREADABLE),
        ('{"records": 3427}', ErrorType.CONTROL_UNREADABLE),
        ('{"records": NaN, "sales_value": "1"}', ErrorType.CONTROL_UNREADABLE),
    ],
)
def test_a_control_file_without_its_totals_is_refused(retailer: Retailer, content: str, error: ErrorType) -> None:
    retailer.deliver().control.write_text(content)
    failure = retailer.run().failure
    assert failure is not None
    assert failure.error_type is error


def test_a_row_that_breaks_the_source_contract_fails_the_check_with_its_count(retailer: Retailer) -> None:
    delivery = retailer.deliver()
    lines = delivery.data.read_text().splitlines()
    cells = lines[5].split(",")
    lines[5] = ",".join(["", *cells[1:5], "-4.00", *cells[6:]])
    delivery.data.write_text("\n".join(lines))
    attempt = retailer.run()
    assert attempt.failed_stage == "check"
    assert attempt.failure is not None
    assert attempt.failure.error_type is ErrorType.CONTRACT_VIOLATION
    broken = {check.name: check.failed_records for check in attempt.failure.result.checks if not check.holds}
    assert broken == {"household_id-required": 1, "sales_value-minimum": 1}


def test_another_header_breaks_the_contract(retailer: Retailer) -> None:
    delivery = retailer.deliver()
    delivery.data.write_text(delivery.data.read_text().replace("sales_value", "amount", 1))
    failure = retailer.run().failure
    assert failure is not None
    assert failure.error_type is ErrorType.CONTRACT_VIOLATION
    assert "sales_value" in failure.message


@pytest.mark.parametrize(
    ("sql", "error", "word"),
    [
        ("CAST(sum(sales_value) AS DOUBLE)", ErrorType.CONTRACT_VIOLATION, "DECIMAL"),
        ("CAST(sum(sales_value) AS DECIMAL(20, 4))", ErrorType.CONTRACT_VIOLATION, "DECIMAL"),
        ("CAST(-1 AS DECIMAL(18, 2))", ErrorType.CONTRACT_VIOLATION, "revenue-minimum"),
        ("CAST(sum(sales_value) / 0.9 AS DECIMAL(18, 2))", ErrorType.CONTRACT_VIOLATION, "total-equals-sum"),
        ("sum(nothere)", ErrorType.SQL_FAILED, "nothere"),
    ],
)
def test_a_result_that_breaks_the_output_contract_is_not_published(retailer: Retailer, sql: str, error: ErrorType, word: str) -> None:
    stage = retailer.document["stages"][2]
    stage["sql"] = stage["sql"].replace("CAST(sum(sales_value) AS DECIMAL(18, 2))", sql)
    retailer.deliver()
    failure = retailer.run().failure
    assert failure is not None
    assert failure.error_type is error
    assert word in failure.message
    assert not retailer.table.exists()


def test_a_quality_rule_that_does_not_hold_stops_and_a_warning_does_not(retailer: Retailer) -> None:
    retailer.document["quality"][1]["must_be"] = 2
    retailer.deliver()
    failure = retailer.run("run-1", 3).failure
    assert failure is not None
    assert failure.error_type is ErrorType.QUALITY_FAILED
    retailer.document["quality"][1]["severity"] = "warning"
    attempt = retailer.run("run-2", 5)
    assert attempt.failure is None
    assert [check.name for check in attempt.results["publish"].checks if not check.holds] == ["one-total"]


def test_a_stop_before_a_stage_leaves_nothing_published(retailer: Retailer) -> None:
    retailer.deliver()
    stop = Stop()
    stop.set("cancelled")
    failure = retailer.run(stop=stop).failure
    assert failure is not None
    assert failure.error_type is ErrorType.INTERRUPTED
    assert failure.retriable


def test_a_path_that_leads_out_of_the_lake_is_refused(retailer: Retailer) -> None:
    retailer.deliver()
    failure = retailer.run(day="../../etc").failure
    assert failure is not None
    assert failure.error_type is ErrorType.TASK_INVALID
    assert DAY not in failure.message


def test_a_link_to_another_tenants_file_is_refused(retailer: Retailer) -> None:
    delivery = retailer.deliver()
    theirs = retailer.root / "globex" / "landing" / "their.csv"
    theirs.parent.mkdir(parents=True)
    delivery.data.rename(theirs)
    delivery.data.symlink_to(theirs)
    attempt = retailer.run()
    assert attempt.failure is not None
    assert attempt.failure.error_type is ErrorType.TASK_INVALID
    assert attempt.results == {}


def test_a_contract_rule_may_name_the_data_partition(retailer: Retailer) -> None:
    rules = retailer.contracts[("retail-transactions", "v1.0")]["schema"][0]["quality"]
    query = "SELECT count(*) FROM {object} WHERE CAST(CAST(transaction_timestamp AS DATE) AS VARCHAR) <> $partition"
    rules.append({"name": "of-the-day", "type": "sql", "query": query, "mustBe": 0})
    retailer.deliver()
    assert retailer.run().failure is None
