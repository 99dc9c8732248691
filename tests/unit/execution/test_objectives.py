"""Objectives against what runs did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from barecount_execution.domain.objectives import EndedRun, judge, window_of
from barecount_manifest import Slo

NOON = datetime(2025, 10, 5, 12, 0, tzinfo=UTC)


def slo(indicator: dict[str, Any], objective: dict[str, Any], window: str = "7d") -> Slo:
    return Slo.model_validate({"name": "s", "indicator": indicator, "timeWindow": [{"duration": window}], "objectives": [objective]})


def run(status: str = "succeeded", *, at: datetime = NOON, seconds: float = 10, dead: int = 0, day: str = "2025-10-04") -> EndedRun:
    return EndedRun(status, at, timedelta(seconds=seconds), 1000, dead, (day,))


SUCCEED = {"ratioMetric": {"good": {"metric": "runs_succeeded"}, "total": {"metric": "runs"}}}


def test_nothing_that_ran_keeps_every_promise() -> None:
    assert judge(slo(SUCCEED, {"target": "0.9"}), [], "UTC")[0]["kept"] is True


def test_a_run_that_a_person_cancelled_neither_keeps_nor_breaks_it() -> None:
    verdict = judge(slo(SUCCEED, {"target": "0.5"}), [run(), run("failed"), run("cancelled")], "UTC")[0]
    assert (verdict["good"], verdict["total"], verdict["ratio"], verdict["kept"]) == (1, 2, "0.500000", True)


def test_bad_events_are_taken_from_all() -> None:
    indicator = {"ratioMetric": {"bad": {"metric": "records_dead_lettered"}, "total": {"metric": "records_read"}}}
    verdict = judge(slo(indicator, {"target": "0.999"}), [run(dead=1), run(dead=2)], "UTC")[0]
    assert (verdict["good"], verdict["total"], verdict["kept"]) == (1997, 2000, False)


def test_a_run_that_took_too_long_breaks_a_duration() -> None:
    indicator = {"thresholdMetric": {"metric": "run_duration_seconds"}}
    verdict = judge(slo(indicator, {"target": "0.5", "op": "lt", "value": 10}), [run(seconds=9.999), run(seconds=10)], "UTC")[0]
    assert (verdict["good"], verdict["total"]) == (1, 2)


def test_freshness_counts_from_the_local_end_of_the_day_and_only_the_first_publication() -> None:
    indicator = {"thresholdMetric": {"metric": "freshness_seconds"}}
    # the day ends at 22:00 UTC in Berlin; published 14 h later, and again by a replay days after
    runs = [run(), run(at=NOON + timedelta(days=3))]
    kept = judge(slo(indicator, {"target": "0.9", "op": "lte", "value": 14 * 3600}), runs, "Europe/Berlin")[0]
    assert (kept["good"], kept["total"]) == (1, 1)
    assert judge(slo(indicator, {"target": "0.9", "op": "lt", "value": 14 * 3600}), runs, "Europe/Berlin")[0]["good"] == 0


def test_freshness_on_the_long_day_of_autumn_counts_from_its_25th_hour() -> None:
    indicator = {"thresholdMetric": {"metric": "freshness_seconds"}}
    # 2025-10-26 ends at 23:00 UTC in Berlin
    late = run(day="2025-10-26", at=datetime(2025, 10, 27, 0, 0, tzinfo=UTC))
    assert judge(slo(indicator, {"target": "0.9", "op": "lte", "value": 3600}), [late], "Europe/Berlin")[0]["good"] == 1
    assert judge(slo(indicator, {"target": "0.9", "op": "lt", "value": 3600}), [late], "Europe/Berlin")[0]["good"] == 0


def test_a_window_is_read_in_its_unit() -> None:
    assert [window_of(slo(SUCCEED, {"target": "0.9"}, text)) for text in ("90m", "2h", "28d", "4w")] == [
        timedelta(minutes=90),
        timedelta(hours=2),
        timedelta(days=28),
        timedelta(weeks=4),
    ]
