"""A read model rebuilt beside the live one: equal, swapped without a failed query, refused when it differs, and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from barecount_eventlog import Recorded
from barecount_readmodel import (
    Connection,
    Database,
    ModelsDiffer,
    NoLiveModel,
    NothingToRollBackTo,
    Projector,
    Rebuild,
    RebuildUnderWay,
    SwapBlocked,
    Token,
)

from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, eventually, handler_of
from tests.integration.readmodel.kit import DeadlockedView, NumbersView
from tests.integration.readmodel.test_projector import decide, numbers, projector_of
from tests.support.forks import forked


def url_of(database: Database) -> str:
    return str(database.pool._connect_args[0])


def rebuild_of(topics: Topics, database: Database, *views: Any, **more: Any) -> Rebuild:
    return Rebuild(topics.kafka, url_of(database), database.service, views or [NumbersView(topics.events)], **more)


@asynccontextmanager
async def live(topics: Topics, database: Database, **more: Any) -> AsyncIterator[Projector]:
    projector = projector_of(topics, database, **more)
    await projector.start()
    await eventually(lambda: projector.ready)
    yield projector
    await projector.stop()


async def schemas(database: Database) -> set[str]:
    rows = await database.pool.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE $1", f"{database.service}%")
    return {row["nspname"].removeprefix(f"{database.schema}") or "live" for row in rows}


async def marked(database: Database) -> str:
    """Names the live model's tables by their identity, which a swap changes."""
    return str(await database.pool.fetchval("SELECT to_regclass($1)::oid::text", f"{database.schema}.numbers"))


async def test_a_rebuilt_model_is_equal_and_takes_the_live_one_s_place(topics: Topics, database: Database) -> None:
    await decide(topics, *(add(n) for n in range(1, 40)))
    async with live(topics, database) as projector:
        before, reports = await marked(database), []
        done = await rebuild_of(topics, database, report=reports.append).run()
        assert done["tables"]["numbers"] == 39 - 1, "number 13 was refused"
        assert done["left_out"] == ["projection_errors.parked_at", "projection_positions.applied_at"]
        assert done["events"] >= 39
        assert [said["step"] for said in reports][-3:] == ["comparing", "swapping", "done"]
        assert await marked(database) != before
        assert await schemas(database) == {"live", "_previous"}
        (place,) = await decide(topics, add(50))
        await projector.wait(Token.of(place), 10)
        assert (await numbers(database, "acme"))[-1] == 50
        assert await numbers(database, "other") == [], "row-level security stands in the new schema too"
        assert not projector.standing()


async def test_writes_and_queries_go_on_through_swaps_and_nothing_read_goes_back(topics: Topics, database: Database) -> None:
    handler, over = handler_of(topics), asyncio.Event()
    await handler.start()
    async with live(topics, database, max_batch=7) as projector:
        written = 0

        async def write() -> None:
            nonlocal written
            while not over.is_set():
                place = await topics.appender.append(topics.inbox, "acme", add(1))
                await projector.wait(Token.of(place), 10)
                written += 1
                assert await tally() >= written, "the write that the token names is there"

        async def tally() -> int:
            async with database.query("acme") as conn:
                events = int(await conn.fetchval("SELECT coalesce(sum(events), 0) FROM tallies"))
                # a later statement of the same snapshot sees the same, whatever was swapped between
                assert await conn.fetchval("SELECT count(*) FROM numbers") == events
                return events

        async def read() -> int:
            seen = rounds = 0
            while not over.is_set():
                found = await tally()
                assert found >= seen, "rows went back"
                seen, rounds = found, rounds + 1
            return rounds

        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read()) for _ in range(3)]
            group.create_task(write())
            for _ in range(4):
                done = await rebuild_of(topics, database).run()
                assert not done["differences"]
                await rebuild_of(topics, database).roll_back()
            over.set()
        assert written > 20
        assert min(reader.result() for reader in readers) > 20
        assert not projector.standing()
        assert await tally() == written
    await handler.stop()


async def test_a_row_changed_by_hand_is_found_named_and_refused(topics: Topics, database: Database) -> None:
    await decide(topics, *(add(n) for n in range(1, 10)))
    async with live(topics, database):
        before = await marked(database)
        await database.pool.execute(f"UPDATE {database.schema}.numbers SET number = 99 WHERE number = 4")
        await database.pool.execute(f"DELETE FROM {database.schema}.tallies")
        with pytest.raises(ModelsDiffer) as caught:
            await rebuild_of(topics, database).run()
        told = str(caught.value)
        assert "table numbers: 1 live rows are not in the rebuilt one, 1 are only there" in told
        assert ",99)" in told
        assert "table tallies: 0 live rows are not in the rebuilt one, 1 are only there" in told
        assert "--accept-differences" in told
        assert await marked(database) == before
        assert await schemas(database) == {"live", "_next"}, "both stay for a look"
        done = await rebuild_of(topics, database).run(accept_differences=True)
        assert len(done["differences"]) == 2
        assert await numbers(database) == list(range(1, 10))
        assert not (await rebuild_of(topics, database).run())["differences"]


async def test_two_rebuilds_at_once_are_refused_and_the_second_names_the_first(topics: Topics, database: Database) -> None:
    await decide(topics, add(1))

    class Slow(NumbersView):
        entered, go = asyncio.Event(), asyncio.Event()

        async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
            self.entered.set()
            await self.go.wait()
            await super().apply(conn, records)

    async with live(topics, database):
        first = asyncio.create_task(rebuild_of(topics, database, Slow(topics.events)).run())
        await Slow.entered.wait()
        for other in (rebuild_of(topics, database).run(), rebuild_of(topics, database).roll_back()):
            with pytest.raises(RebuildUnderWay, match=rf"rebuild of {database.service} by pid \d+ since 20"):
                await other
        Slow.go.set()
        await first


@pytest.mark.parametrize("point", ["projecting", "comparing", "swapping", "held", "renamed"])
async def test_a_rebuild_killed_at_any_point_leaves_the_live_model_and_the_next_one_succeeds(
    topics: Topics, database: Database, point: str
) -> None:
    await decide(topics, *(add(n) for n in range(100, 160)))
    async with live(topics, database) as projector:
        before = await marked(database)
        kafka = topics.kafka
        killed = await forked(
            *("tests.integration.readmodel.rebuild_process", point, url_of(database)),
            *(kafka.bootstrap, kafka.username or "", kafka.password or "", database.service, topics.events),
        )
        async with asyncio.timeout(60):
            assert await killed.wait() == -9
        assert await marked(database) == before
        (place,) = await decide(topics, add(2))
        await projector.wait(Token.of(place), 15)
        assert not projector.standing()
        done = await rebuild_of(topics, database).run()
        assert not done["differences"]
        assert await marked(database) != before
        assert await schemas(database) == {"live", "_previous"}


async def test_a_rollback_brings_the_model_from_before_up_to_date_first_and_can_be_undone(topics: Topics, database: Database) -> None:
    await decide(topics, add(1))
    async with live(topics, database) as projector:
        with pytest.raises(NothingToRollBackTo, match="no model from before"):
            await rebuild_of(topics, database).roll_back()
        first = await marked(database)
        await rebuild_of(topics, database).run()
        second = await marked(database)
        for expected, number in ((first, 2), (second, 3), (first, 4)):
            (place,) = await decide(topics, add(number))
            await projector.wait(Token.of(place), 10)
            await rebuild_of(topics, database).roll_back()
            assert await marked(database) == expected
            assert await numbers(database) == list(range(1, number + 1))
        (place,) = await decide(topics, add(5))
        await projector.wait(Token.of(place), 10)
        assert await numbers(database) == [1, 2, 3, 4, 5]


async def test_views_that_no_service_runs_are_refused_by_name_and_can_be_prepared(topics: Topics, database: Database) -> None:
    await decide(topics, *(add(n) for n in range(1, 6)))

    class Second(NumbersView):
        VERSION = 2

    async with live(topics, database):
        with pytest.raises(NoLiveModel, match=f"what stands there is {database.schema}"):
            await rebuild_of(topics, database, Second(topics.events)).run()
        old = database.schema
        prepared = await rebuild_of(topics, database, Second(topics.events)).prepare()
        assert prepared["schema"] != old
    upgraded = projector_of(topics, database, Second(topics.events))
    await upgraded.start()
    assert database.schema == prepared["schema"]
    assert await numbers(database) == [1, 2, 3, 4, 5], "at once: nothing was left to project"
    await upgraded.stop()


async def test_a_view_that_raises_ends_the_rebuild_and_leaves_the_live_model(topics: Topics, database: Database) -> None:
    await decide(topics, add(1))

    class Broken(NumbersView):
        async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
            await conn.execute("SELECT 1/0")

    async with live(topics, database):
        before = await marked(database)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await rebuild_of(topics, database, Broken(topics.events)).run()
        assert await marked(database) == before
        assert not (await rebuild_of(topics, database).run())["differences"]


async def test_a_query_that_stays_open_blocks_the_swap_and_is_not_broken(
    topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barecount_readmodel.swap.HELD_SECONDS", 0.5)
    await decide(topics, add(1))
    async with live(topics, database) as projector:
        before = await marked(database)
        async with database.query("acme") as conn:
            assert await conn.fetchval("SELECT count(*) FROM numbers") == 1
            with pytest.raises(SwapBlocked, match="try again"):
                await rebuild_of(topics, database).run()
            assert await conn.fetchval("SELECT count(*) FROM numbers") == 1
        assert await marked(database) == before
        (place,) = await decide(topics, add(2))
        await projector.wait(Token.of(place), 10)
        await rebuild_of(topics, database).run()
        assert await marked(database) != before


async def test_a_batch_that_postgresql_ends_for_a_deadlock_is_projected_again(topics: Topics, database: Database) -> None:
    await decide(topics, *(add(n) for n in range(20, 40)))
    async with live(topics, database):
        done = await rebuild_of(topics, database, DeadlockedView(2, topics.events)).run()
        assert (done["tables"]["numbers"], done["differences"]) == (20, [])
        assert await numbers(database) == list(range(20, 40))

        with pytest.raises(asyncpg.DeadlockDetectedError):
            await rebuild_of(topics, database, DeadlockedView(1_000, topics.events)).run()


async def test_a_swap_that_is_tried_again_in_the_midst_of_a_batch_loses_nothing_of_it(
    topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(NumbersView):
        times = 0

        async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
            if not self.times and any(getattr(record.payload, "number", 0) == 77 for record in records):
                self.times += 1
                await asyncio.Event().wait()
            await super().apply(conn, records)

    await decide(topics, *(add(n) for n in range(20, 40)))
    view = Stuck(topics.events)
    async with live(topics, database) as projector:

        async def late(conn: Connection, schema: str) -> None:
            """Between the comparison and the swap."""
            (place,) = await decide(topics, add(77))
            await projector.wait(Token.of(place), 10)

        monkeypatch.setattr("barecount_readmodel.rebuild.analyze", late)
        monkeypatch.setattr("barecount_readmodel.swap.HELD_SECONDS", 0.5)
        await rebuild_of(topics, database, view).run()
        assert view.times == 1
        assert await numbers(database) == [*range(20, 40), 77]
