"""Routes: where data came from, which columns made a column, and a run's OpenLineage events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from barecount_chassis import Caller, ConsistencyToken, Problem, caller_of, require
from barecount_readmodel import Connection, Database, Projector, reach
from fastapi import APIRouter, Depends, Query, Request

from .answers import ColumnsLineage, LineageEvents, LineageGraph
from .domain.names import DATASETS
from .views import events, graph
from .views.walk import Direction, Walk

MOST_DEPTH: Final = 10

router = APIRouter()
Reader = Annotated[Caller, require("lineage:read")]


@dataclass(frozen=True)
class Parts:
    """What the routes work with; app.py puts it into `app.state.parts`."""

    database: Database
    projector: Projector
    secret: bytes


async def _fresh(request: Request, token: ConsistencyToken = None) -> Parts:
    """Waits until the read model has what the caller's token names, as far as it reads those logs."""
    parts: Parts = request.app.state.parts
    # commands' outcomes are events of the log that this service projects; other logs it does not read
    await reach(
        parts.projector, token, parts.secret, caller_of(request).tenant, topics=("control.events", "lineage.events", "pipelines.commands")
    )
    return parts


Fresh = Annotated[Parts, Depends(_fresh)]
DatasetName = Annotated[str, Query(min_length=1, max_length=1024, description="`<name>` or `file:<name>`, as OpenLineage names it")]


@router.get("/lineage", response_model=None, responses={200: {"model": LineageGraph}})
async def lineage(
    caller: Reader,
    parts: Fresh,
    run_id: Annotated[str | None, Query(min_length=1, max_length=256)] = None,
    dataset: Annotated[str | None, Query(min_length=1, max_length=1024)] = None,
    direction: Direction | None = None,
    depth: Annotated[int, Query(ge=1, le=MOST_DEPTH)] = 5,
) -> dict[str, Any]:
    """The graph around a run (both ways unless said) or a dataset (upstream unless said). A table stands for its newest data partitions.

    Edges point where data flows; depth counts runs. `not-found` when your tenant has no such run or dataset.
    """
    if (run_id is None) == (dataset is None):
        raise Problem("invalid-request", "give either run_id or dataset")
    async with parts.database.query(caller.tenant) as conn:
        walk = Walk(conn)
        if run_id is not None:
            found = await walk.from_run(run_id, direction or "both", depth)
        else:
            starts = await _datasets(conn, _named(str(dataset)))
            found = any([await walk.from_dataset(start, direction or "upstream", depth) for start in starts])
    if not found:
        raise Problem("not-found", f"lineage knows no {'run' if run_id else 'dataset'} {run_id or dataset}")
    return {"nodes": list(walk.nodes.values()), "edges": list(walk.edges.values()), "truncated": walk.truncated}


@router.get("/lineage/columns", response_model=None, responses={200: {"model": ColumnsLineage}})
async def columns(
    caller: Reader, parts: Fresh, dataset: DatasetName, column: Annotated[str | None, Query(min_length=1, max_length=256)] = None
) -> dict[str, Any]:
    """Which input columns a column comes from, as the newest publication was made; `rows` is what acts on every row.

    `not-found` when your tenant has no such dataset or column.
    """
    async with parts.database.query(caller.tenant) as conn:
        items: list[dict[str, Any]] = []
        for name in await _datasets(conn, _named(dataset), limit=1):
            rows = await graph.columns(conn, name, column)
            items += [_column(name, field, rows) for field in dict.fromkeys(row["field"] for row in rows if row["field"])]
    if not items:
        raise Problem("not-found", f"lineage knows no {'column ' + column + ' of ' if column else 'columns of '}dataset {dataset}")
    return {"items": items, "next_cursor": None}


@router.get("/lineage/runs/{run_id}/events", response_model=None, responses={200: {"model": LineageEvents}})
async def run_events(caller: Reader, parts: Fresh, run_id: str) -> dict[str, Any]:
    """A run's OpenLineage events, as they were emitted."""
    async with parts.database.query(caller.tenant) as conn:
        items = await events.events_of(conn, run_id)
    if not items:
        raise Problem("not-found", f"lineage knows no run {run_id}")
    return {"items": items, "next_cursor": None}


async def _datasets(conn: Connection, name: str, limit: int = 20) -> list[str]:
    """The dataset itself, or a table's newest data partitions."""
    return await graph.partitions_of(conn, name, limit) or [name]


def _named(dataset: str) -> str:
    return dataset if dataset.startswith(f"{DATASETS}:") else f"{DATASETS}:{dataset}"


def _column(dataset: str, field: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    def told(row: dict[str, Any]) -> dict[str, Any]:
        return {"dataset": row["input"], "field": row["input_field"], "transformations": row["actions"]}

    return {
        "dataset": dataset,
        "field": field,
        "run_id": next(row["run_id"] for row in rows),
        "inputs": [told(row) for row in rows if row["field"] == field],
        "rows": [told(row) for row in rows if row["field"] == ""],
    }
