"""A run's stages with their attempts, as rows tell them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .reading import Row, parsed, stamp


def stages(run: Row, attempts: Sequence[Row]) -> list[dict[str, Any]]:
    """Each stage of each data partition in the order of the way through, waiting ones included."""
    by_place: dict[tuple[str, str], list[Row]] = {}
    for attempt in attempts:
        by_place.setdefault((attempt["data_partition"], attempt["stage"]), []).append(attempt)
    found = []
    for data_partition in parsed(run["data_partitions"]) or []:
        for stage in parsed(run["stages"]) or []:
            tried = by_place.get((data_partition, stage["name"]), [])
            found.append(
                {
                    "stage": stage["name"],
                    "kind": stage["kind"],
                    "data_partition": data_partition,
                    "status": _status(tried),
                    "attempts": [_attempt(one) for one in tried],
                }
            )
    return found


def _status(tried: Sequence[Row]) -> str:
    """The latest attempt's, or what a fence found out; `waiting` before the first."""
    if not tried:
        return "waiting"
    if any(one["status"] == "succeeded" and one["purpose"] == "execute" for one in tried):
        return "succeeded"
    return str(tried[-1]["status"] if tried[-1]["purpose"] == "execute" else "fencing" if tried[-1]["ended_at"] is None else "fenced")


def _attempt(row: Row) -> dict[str, Any]:
    error = None
    if row["error_type"] is not None:
        error = {"error_type": row["error_type"], "message": row["error_message"], "retriable": row["retriable"]}
    return {
        "attempt": row["attempt"],
        "purpose": row["purpose"],
        "status": row["status"],
        "worker_id": row["worker_id"],
        "dispatched_at": stamp(row["dispatched_at"]),
        "started_at": stamp(row["started_at"]),
        "ended_at": stamp(row["ended_at"]),
        "lease_until": stamp(row["lease_until"]) if row["ended_at"] is None else None,
        "retry_at": stamp(row["retry_at"]),
        "metrics": parsed(row["metrics"]),
        "checks": parsed(row["checks"]) or [],
        "inputs": parsed(row["inputs"]) or [],
        "ticket": (parsed(row["ticket"]) or {}).get("number"),
        "error": error,
    }
