"""Which limit holds a run, and who holds the slots that it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from barecount_readmodel import Connection

from .reading import Row, stamp


async def waiting_for(conn: Connection, tenant: str, run: Row, attempts: Sequence[Row]) -> dict[str, Any] | None:
    """None while something of the run is under way, and after its end. Other tenants' runs are counted, not named."""
    if run["status"] == "requested":
        return {"limit": "admission", "detail": "the request is recorded; execution has not read it yet"}
    if run["status"] not in ("queued", "running", "cancelling") or any(one["ended_at"] is None for one in attempts):
        return None
    retry = attempts[-1]["retry_at"] if attempts else None
    workers = await conn.fetch(
        "SELECT w.worker_id, w.slots, (SELECT count(*) FROM slots s WHERE s.worker_id = w.worker_id AND s.incarnation = w.incarnation) "
        "AS busy FROM workers w WHERE w.pool = $1 AND w.lost_at IS NULL AND w.slots > 0 ORDER BY w.worker_id",
        run["pool"],
    )
    if not workers:
        detail = f"no worker of pool {run['pool']} has announced itself; `barecount status` names the processes"
        return {"limit": "workers", "detail": detail, "pool": run["pool"]}
    if any(worker["busy"] < worker["slots"] for worker in workers):
        if retry is None:
            return None
        return {"limit": "backoff", "detail": f"the next attempt begins at {stamp(retry)}", "not_before": stamp(retry)}
    mine = await conn.fetch(
        "SELECT DISTINCT a.run_id FROM attempts a JOIN slots s ON s.nonce = a.nonce WHERE a.tenant = $1 ORDER BY a.run_id", tenant
    )
    slots = sum(worker["slots"] for worker in workers)
    return {
        "limit": "slots",
        "detail": f"all {slots} slots of pool {run['pool']} are taken",
        "pool": run["pool"],
        "slots": slots,
        "held_by": [row["run_id"] for row in mine],
        "workers": [worker["worker_id"] for worker in workers],
    }
