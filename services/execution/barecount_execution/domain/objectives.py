"""Service level objectives against what ended runs did (OpenSLO, budgeting method Occurrences)."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from barecount_manifest import Slo

_HOLDS = {"lte": operator.le, "gte": operator.ge, "lt": operator.lt, "gt": operator.gt}
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run of the objective's window, in its figures."""

    status: str
    ended_at: datetime
    duration: timedelta
    records_in: int
    dead_lettered: int
    data_partitions: tuple[str, ...]


def window_of(slo: Slo) -> timedelta:
    """The rolling window before now."""
    text = slo.time_window[0].duration
    return int(text[:-1]) * _UNITS[text[-1]]


def judge(slo: Slo, runs: Sequence[EndedRun], timezone: str) -> list[dict[str, Any]]:
    """One verdict an objective: good and total events, their ratio and the target as decimal strings, and whether it is kept.

    A total of 0 counts as kept, since nothing was promised about nothing.
    """
    found = []
    for objective in slo.objectives:
        if slo.indicator.threshold_metric is not None:
            metric = slo.indicator.threshold_metric.metric
            values = _values(metric, runs, timezone)
            assert objective.op is not None, "the manifest's rules want an operator with a threshold"
            assert objective.value is not None, "the manifest's rules want a value with a threshold"
            good, total = sum(1 for value in values if _HOLDS[objective.op](value, objective.value)), len(values)
        else:
            good, total = _ratio(slo, runs)
        ratio = Decimal(good) / Decimal(total) if total else Decimal(1)
        found.append(
            {
                "slo": slo.name,
                "target": str(objective.target),
                "op": objective.op,
                "value": None if objective.value is None else str(objective.value),
                "good": good,
                "total": total,
                "ratio": str(ratio.quantize(_PLACES)),
                "kept": ratio >= objective.target,
            }
        )
    return found


def _values(metric: str, runs: Sequence[EndedRun], timezone: str) -> list[Decimal]:
    """Seconds, one value a run that published; for freshness one a data partition."""
    published = [run for run in runs if run.status == "succeeded"]
    if metric == "run_duration_seconds":
        return [_seconds(run.duration) for run in published]
    # the first publication of a data partition counts: a later replay does not make it late
    first: dict[str, datetime] = {}
    for run in published:
        for name in run.data_partitions:
            first.setdefault(name, run.ended_at)
    return [_seconds(at - end) for name, at in first.items() if (end := _end_of(name, timezone)) is not None]


def _ratio(slo: Slo, runs: Sequence[EndedRun]) -> tuple[int, int]:
    ratio = slo.indicator.ratio_metric
    assert ratio is not None, "an indicator has one of the two metrics"
    total = _count(ratio.total.metric, runs)
    if ratio.good is not None:
        return _count(ratio.good.metric, runs), total
    assert ratio.bad is not None, "a ratio has one of good and bad"
    return total - _count(ratio.bad.metric, runs), total


def _count(metric: str, runs: Sequence[EndedRun]) -> int:
    match metric:
        case "runs":
            # who was cancelled by a person neither kept nor broke a promise
            return sum(1 for run in runs if run.status != "cancelled")
        case "runs_succeeded":
            return sum(1 for run in runs if run.status == "succeeded")
        case "runs_failed":
            return sum(1 for run in runs if run.status == "failed")
        case "records_read":
            return sum(run.records_in for run in runs)
        case "records_accepted":
            return sum(run.records_in - run.dead_lettered for run in runs)
        case _:
            return sum(run.dead_lettered for run in runs)


def _seconds(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(microseconds=1)) / 1_000_000


def _end_of(name: str, timezone: str) -> datetime | None:
    """The instant at which a day ends in its time zone: the next local midnight, never 24 h later."""
    try:
        day = date.fromisoformat(name)
    except ValueError:
        return None
    return datetime.combine(day + timedelta(days=1), clock(0), ZoneInfo(timezone))
