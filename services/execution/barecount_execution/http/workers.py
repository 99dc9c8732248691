"""Workers: who has announced itself, and how full it is."""

from __future__ import annotations

from typing import Annotated, Any

from barecount_chassis import Caller, require
from fastapi import APIRouter

from .answers import Workers
from .reading import Reads, stamp

router = APIRouter(tags=["workers"])


@router.get("/workers", summary="The workers of all pools and their slots", response_model=None, responses={200: {"model": Workers}})
async def list_workers(caller: Annotated[Caller, require("runs:read")], reads: Reads) -> dict[str, Any]:
    async with reads.rows(caller) as conn:
        rows = await conn.fetch(
            "SELECT w.*, (SELECT count(*) FROM slots s WHERE s.worker_id = w.worker_id AND s.incarnation = w.incarnation) AS busy "
            "FROM workers w ORDER BY w.pool, w.worker_id"
        )
    items = [
        {
            "worker_id": row["worker_id"],
            "incarnation": row["incarnation"],
            "pool": row["pool"],
            # a lease expired and it has not announced itself since: it gets nothing until it does
            "status": "lost" if row["lost_at"] is not None else "announced",
            "slots": row["slots"],
            "busy": row["busy"],
            "code_version": row["code_version"],
            "announced_at": stamp(row["announced_at"]),
            "lost_at": stamp(row["lost_at"]),
        }
        for row in rows
    ]
    return {"items": items, "next_cursor": None}
