"""Are the objectives of the manifests kept? Judged over the runs that ended in each objective's window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from barecount_chassis import Caller, require
from barecount_manifest import Manifest
from barecount_readmodel import Connection
from fastapi import APIRouter, Query

from barecount_execution.domain.objectives import EndedRun, judge, window_of
from barecount_execution.views.bodies import manifest_of

from .answers import Slos
from .reading import Reads, parsed, stamp

router = APIRouter(tags=["slos"])


@router.get(
    "/slos",
    summary="Adherence of each pipeline's objectives, with what the verdict rests on",
    response_model=None,
    responses={200: {"model": Slos}},
)
async def slos(
    caller: Annotated[Caller, require("runs:read")], reads: Reads, pipeline: Annotated[str | None, Query(max_length=128)] = None
) -> dict[str, Any]:
    now, items = datetime.now(UTC), []
    async with reads.rows(caller) as conn:
        newest = await conn.fetch(
            "SELECT DISTINCT ON (pipeline, environment) pipeline, environment, plan->>'manifest_digest' AS digest, "
            "(plan->>'manifest_version')::int AS version FROM runs WHERE tenant = $1 AND plan IS NOT NULL "
            "AND ($2::text IS NULL OR pipeline = $2) ORDER BY pipeline, environment, created_at DESC",
            *(caller.tenant, pipeline),
        )
        for row in newest:
            document = await manifest_of(conn, row["digest"])
            if document is None:
                continue
            manifest = Manifest.model_validate(document)
            for slo in manifest.slos:
                since = now - window_of(slo)
                runs = await _ended(conn, caller, row["pipeline"], row["environment"], since)
                for verdict in judge(slo, runs, manifest.partitioning.timezone):
                    place = {"pipeline": row["pipeline"], "environment": row["environment"], "manifest_version": row["version"]}
                    items.append({**place, "window": slo.time_window[0].duration, "since": stamp(since), "until": stamp(now), **verdict})
    return {"items": items, "next_cursor": None}


async def _ended(conn: Connection, caller: Caller, pipeline: str, environment: str, since: datetime) -> list[EndedRun]:
    rows = await conn.fetch(
        "SELECT status, ended_at, totals, plan->'data_partitions' AS data_partitions FROM runs WHERE tenant = $1 AND pipeline = $2 "
        "AND environment = $3 AND ended_at >= $4 AND totals IS NOT NULL ORDER BY ended_at",
        *(caller.tenant, pipeline, environment, since),
    )
    found = []
    for row in rows:
        totals = parsed(row["totals"])
        found.append(
            EndedRun(
                status=row["status"],
                ended_at=row["ended_at"],
                duration=timedelta(milliseconds=totals["duration_ms"]),
                records_in=totals["records_in"],
                dead_lettered=totals["dead_lettered"],
                data_partitions=tuple(parsed(row["data_partitions"]) or ()),
            )
        )
    return found
