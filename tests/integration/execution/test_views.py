"""The read model from the log alone: the order in which two topics are projected changes nothing, and repeating changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from barecount_contracts import Envelope, Message, RunQueued, RunRefused, RunRequested, RunStarted, RunSucceeded, RunTotals
from barecount_eventlog import Recorded
from barecount_execution.views import RunsView
from barecount_readmodel import Database

from tests.support.servers import Postgres
from tests.unit.execution.world import BEGIN, DIGEST, bodies, plan

pytestmark = pytest.mark.integration
CHAIN = UUID(int=7)


@pytest_asyncio.fixture(scope="module")
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    opened = await Database.open(await postgres.create_database("views"), service="execution")
    await opened.prepare([RunsView()])
    yield opened
    await opened.close()


def record(topic: str, offset: int, payload: Message, tenant: str) -> Recorded:
    time = BEGIN + timedelta(seconds=offset)
    envelope = Envelope(
        id=UUID(int=offset), type=payload.TYPE, tenant=tenant, time=time, correlation=CHAIN, principal="user:1", data=payload.to_data()
    )
    return Recorded(topic, 0, offset, time, tenant, {}, envelope.to_bytes())


def history(run_id: str, tenant: str) -> dict[str, list[Recorded]]:
    totals = RunTotals(records_in=1, records_out=1, dead_lettered=0, error_rate="0.000000", duration_ms=5, reconciled=True)
    asked = RunRequested(run_id=run_id, plan=plan(), plan_digest=DIGEST)
    queued = RunQueued(run_id=run_id, pool="default", plan=plan(), plan_digest=DIGEST, bodies=bodies())
    ended = RunSucceeded(run_id=run_id, plan=plan(), plan_digest=DIGEST, totals=totals)
    mine = [queued, RunStarted(run_id=run_id), ended, RunRefused(run_id=run_id, code="run-exists", detail="again")]
    return {
        "control.events": [record("control.events", 1, asked, tenant)],
        "runs.events": [record("runs.events", number, event, tenant) for number, event in enumerate(mine, 2)],
    }


async def project(database: Database, *batches: list[Recorded]) -> None:
    for batch in batches:
        async with database.pool.acquire() as conn, conn.transaction():
            await conn.execute(f'SET LOCAL search_path TO "{database.schema}"')
            await RunsView().apply(conn, batch)


async def row_of(database: Database, tenant: str) -> dict[str, object]:
    async with database.query(tenant) as conn:
        rows = await conn.fetch("SELECT * FROM runs")
    assert len(rows) == 1
    return {name: value for name, value in rows[0].items() if name != "tenant"}


async def test_the_order_in_which_the_topics_are_projected_changes_nothing(database: Database) -> None:
    found = []
    for number, order in enumerate(itertools.permutations(("control.events", "runs.events"))):
        tenant = f"order-{number}"
        topics = history("run_1", tenant)
        await project(database, *(topics[topic] for topic in order))
        found.append(await row_of(database, tenant))
    assert found[0] == found[1]
    assert (found[0]["status"], found[0]["requested_by"]) == ("succeeded", "user:1")
    assert found[0]["created_at"] == BEGIN + timedelta(seconds=1)


async def test_a_refused_repetition_of_an_admission_does_not_touch_the_run(database: Database) -> None:
    topics = history("run_1", "repeated")
    await project(database, topics["control.events"], topics["runs.events"], topics["runs.events"][-1:])
    assert (await row_of(database, "repeated"))["error_type"] is None


async def test_a_run_that_execution_cannot_take_shows_as_refused_with_its_reason(database: Database) -> None:
    asked = history("run_1", "refused")["control.events"]
    no = [record("runs.events", 9, RunRefused(run_id="run_1", code="invalid-manifest", detail="no stages"), "refused")]
    for batches in ((asked, no), (no, asked)):
        await project(database, *batches)
        row = await row_of(database, "refused")
        assert (row["status"], row["error_type"], row["pipeline"]) == ("refused", "invalid-manifest", "revenue-kpi")
