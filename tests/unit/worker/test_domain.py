"""Paths, totals, stops and the closed set of failures."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from barecount_worker.domain.failure import ErrorType
from barecount_worker.domain.lake import Lake
from barecount_worker.domain.stop import Stop
from barecount_worker.domain.totals import compare, exact
from hypothesis import given
from hypothesis import strategies as st

LAKE = Lake(Path("/lake"), "acme", "prod")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0", ".hidden", "a..b", "x" * 200])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="path"):
        Lake(Path("/lake"), name, "prod")
    with pytest.raises(ValueError, match="path"):
        LAKE.staging(name, "read", "2025-10-04", "n1")
    with pytest.raises(ValueError, match="path"):
        LAKE.landing("landing/{partition}.csv", name)


@pytest.mark.parametrize("path", ["/etc/passwd", "../other", "a/../../b", "", "a\\b"])
def test_a_path_out_of_the_lake_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="out of"):
        LAKE.table(path)


@pytest.mark.parametrize("path", ["acme/dev/.staging/x", "other/prod/.staging/x", "acme/prod/tables/x", "acme/landing/x"])
def test_only_the_environments_own_staging_can_be_read_as_staged(path: str) -> None:
    with pytest.raises(ValueError, match="staging"):
        LAKE.staged(path)


def test_landing_is_shared_by_environments_and_tables_are_not() -> None:
    dev = Lake(Path("/lake"), "acme", "dev")
    assert dev.landing("landing/{partition}.csv", "2025-10-04") == LAKE.landing("landing/{partition}.csv", "2025-10-04")
    assert dev.table("tables/t") != LAKE.table("tables/t")
    staging = LAKE.staging("run", "read", "2025-10-04", "n1") / "t.parquet"
    assert LAKE.staged(LAKE.relative(staging)) == staging


@pytest.mark.parametrize("value", [1.0, True, "x", "NaN", "Infinity", None, "1,0"])
def test_a_total_that_is_not_exact_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is"):
        exact(value)


CENTS = st.integers(-(10**15), 10**15).map(lambda cents: Decimal(cents).scaleb(-2))


@given(CENTS, CENTS, st.integers(0, 100).map(lambda cents: Decimal(cents).scaleb(-2)))
def test_totals_hold_exactly_within_the_tolerance(expected: Decimal, actual: Decimal, tolerance: Decimal) -> None:
    found = compare("x", expected, actual, tolerance)
    assert found.holds == (abs(actual - expected) <= tolerance)
    assert Decimal(found.expected) + Decimal(found.difference) == Decimal(found.actual)
    assert "E" not in found.expected + found.actual + found.difference


def test_no_rows_are_a_total_of_zero() -> None:
    found = compare("x", Decimal("1.50"), None, Decimal(0))
    assert (found.actual, found.difference, found.holds) == ("0", "-1.50", False)


def test_only_what_time_may_heal_is_tried_again() -> None:
    assert {kind.value for kind in ErrorType if kind.retriable} == {"io-error", "interrupted", "table-busy", "worker-error"}


def test_a_stop_calls_everybody_once_and_keeps_its_first_reason() -> None:
    stop, calls = Stop(), []
    with stop.calling(lambda: calls.append("a")):
        stop.set("first")
        stop.set("second")
    with stop.calling(lambda: calls.append("b")):
        pass
    assert (stop(), stop.reason, calls.count("b")) == (True, "first", 1)
