"""A run's figures: the ended run's totals, or what its closed attempts have counted so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from .reading import Row, parsed


def figures(run: Row, attempts: Sequence[Row]) -> dict[str, Any]:
    """Milliseconds, records, and error_rate as a decimal string with six places; `final` once the run has ended."""
    kinds = {stage["name"]: stage["kind"] for stage in parsed(run["stages"]) or []}
    latest: dict[tuple[str, str], Row] = {}
    for attempt in attempts:
        if attempt["metrics"] is not None and attempt["purpose"] == "execute":
            latest[attempt["data_partition"], attempt["stage"]] = attempt
    by_stage = [
        {
            "stage": stage,
            "kind": kinds.get(stage),
            "data_partition": data_partition,
            "attempt": one["attempt"],
            **parsed(one["metrics"]),
            "checks": parsed(one["checks"]) or [],
        }
        for (data_partition, stage), one in latest.items()
    ]
    totals = parsed(run["totals"]) or _so_far(by_stage, latest)
    return {"run_id": run["run_id"], "status": run["status"], "final": run["totals"] is not None, **totals, "stages": by_stage}


def _so_far(by_stage: Sequence[dict[str, Any]], latest: Mapping[tuple[str, str], Row]) -> dict[str, Any]:
    records_in = sum(one["records_in"] for one in by_stage if one["kind"] == "read")
    dead = sum(one["dead_lettered"] for one in by_stage)
    compared = [rule for one in latest.values() for rule in parsed(one["reconciliations"]) or []]
    rate = Decimal(dead) / Decimal(records_in) if records_in else Decimal(0)
    return {
        "records_in": records_in,
        "records_out": sum(one["records_out"] for one in by_stage if one["kind"] == "publish"),
        "dead_lettered": dead,
        "error_rate": str(rate.quantize(Decimal("0.000001"), ROUND_HALF_UP)),
        "duration_ms": None,
        "reconciled": all(rule["holds"] for rule in compared) if compared else None,
        "reconciliations": compared,
    }
