"""A delivery whose columns are not the contract's: one more is drift and the day is computed all the same, one less stops it."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa
import pytest
from barecount_contracts import SOURCE_COLUMNS, CheckResult
from barecount_worker.domain.failure import ErrorType
from deltalake import DeltaTable

from .conftest import Retailer


def rewrite(path: Path, *, add: str = "", drop: str = "") -> None:
    """The same records with a column more or less; the new one stands first, so that every other place moves."""
    with path.open(newline="") as file:
        records = list(csv.DictReader(file))
    names = [name for name in ([add] if add else []) + list(records[0]) if name != drop]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**record, **({add: "x"} if add else {})} for record in records)


def whole(retailer: Retailer) -> pa.Table:
    """The published table, in one order."""
    table = DeltaTable(retailer.table).to_pyarrow_table()
    return table.sort_by([(name, "ascending") for name in table.column_names])


def columns(checks: tuple[CheckResult, ...]) -> tuple[bool, str]:
    (check,) = [check for check in checks if check.name == SOURCE_COLUMNS]
    return check.holds, check.detail


def test_a_delivery_as_agreed_says_so(retailer: Retailer) -> None:
    retailer.deliver()
    assert columns(retailer.run().results["read"].checks) == (True, "")


def test_a_column_more_is_told_and_the_day_is_published_as_it_would_be_without(retailer: Retailer) -> None:
    retailer.deliver()
    assert retailer.run("run-1", 3).failure is None
    usual = whole(retailer)
    rewrite(retailer.deliver().data, add="loyalty_id")
    attempt = retailer.run("run-2", 5)
    assert attempt.failure is None
    assert columns(attempt.results["read"].checks) == (False, "additional: loyalty_id")
    assert ("warning", "columns-read-over") in [(level, event) for level, event, _ in attempt.log]
    assert attempt.dead == []
    assert whole(retailer).equals(usual)


@pytest.mark.parametrize("renamed", ["", "sales"])
def test_a_column_less_fails_the_day_and_is_told(retailer: Retailer, renamed: str) -> None:
    rewrite(retailer.deliver().data, drop="sales_value", add=renamed)
    attempt = retailer.run()
    assert attempt.failure is not None
    assert attempt.failure.error_type is ErrorType.CONTRACT_VIOLATION
    told = "missing: sales_value" + (f"; additional: {renamed}" if renamed else "")
    assert columns(attempt.failure.result.checks) == (False, told)
    assert told in attempt.failure.message
    assert not retailer.table.exists()
