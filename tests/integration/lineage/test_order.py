"""Runs stand in different partitions of lineage.events, which are read side by side: who is read first must not show."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from barecount_contracts import Envelope, Message, Position, event_id
from barecount_eventlog import Recorded
from barecount_lineage.domain.describe import describe
from barecount_lineage.domain.follow import FollowState, emitted, follow
from barecount_lineage.views.graph import Graph
from barecount_readmodel import Database

from tests.integration.lineage.kit import life
from tests.integration.readmodel.kit import fresh_service, service_database
from tests.support.servers import Postgres

BEGAN = datetime(2026, 11, 23, 12, tzinfo=UTC)
TABLES = ("lineage_runs", "lineage_datasets", "lineage_facets", "lineage_reads", "lineage_writes", "lineage_columns_of", "lineage_columns")


def emissions(run: Sequence[Message], *, partition: int, began: datetime) -> list[Recorded]:
    """The lineage events of a run, a second apart, as records of one partition."""
    state, found = FollowState(), list[Recorded]()
    for number, payload in enumerate(run):
        told = _envelope(payload, began + timedelta(seconds=number), number)
        state, emission = follow(state, told, Position(topic="runs.events", partition=partition, offset=number))
        if emission is not None:
            event = _envelope(emitted(emission, describe(emission, told.time)), told.time, number)
            found.append(Recorded("lineage.events", partition, len(found), told.time, "run", {}, event.to_bytes()))
    return found


def _envelope(payload: Message, time: datetime, number: int) -> Envelope:
    identity = event_id("runs.events", 0, number, 0)
    return Envelope(id=identity, type=payload.TYPE, tenant="acme", time=time, correlation=identity, data=payload.to_data())


async def rows_of(postgres: Postgres, batches: Sequence[Sequence[Recorded]], *, together: bool = False) -> dict[str, list[Any]]:
    """What stands in every table of the view after these batches, each in a transaction of its own."""
    service = fresh_service()
    database = await Database.open(await service_database(postgres, service=service), service=service)
    view = Graph()

    async def apply(batch: Sequence[Recorded]) -> None:
        async with database.pool.acquire() as conn, conn.transaction():
            await conn.execute(f'SET LOCAL search_path TO "{schema}"')
            await view.apply(conn, batch)

    try:
        schema = await database.prepare([view])
        if together:
            await asyncio.gather(*(apply(batch) for batch in batches))
        else:
            for batch in batches:
                await apply(batch)
        async with database.query("acme") as conn:
            return {name: [tuple(row) for row in await conn.fetch(f"SELECT * FROM {name} ORDER BY {name}")] for name in TABLES}
    finally:
        await database.close()


async def test_the_newest_publication_stands_whichever_partition_is_read_first(postgres: Postgres) -> None:
    first = emissions(life("run-1", delta_version=1), partition=0, began=BEGAN)
    second = emissions(life("run-2", rerun_of="run-1", delta_version=2), partition=1, began=BEGAN + timedelta(minutes=1))
    in_order = await rows_of(postgres, [first, second])
    assert {row[6] for row in in_order["lineage_columns"]} == {"run-2"}
    assert await rows_of(postgres, [second, first]) == in_order
    assert await rows_of(postgres, [first, second], together=True) == in_order
