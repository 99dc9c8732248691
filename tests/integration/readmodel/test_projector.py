"""Rows exactly once, errors that stand still, and read-your-writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from barecount_contracts import Position
from barecount_eventlog import Recorded, end_offsets
from barecount_readmodel import Connection, Database, NotYetProjected, Projector, Token, TokenError

from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, create_topics, drained, eventually, handler_of
from tests.integration.readmodel.kit import NumbersView


def projector_of(topics: Topics, database: Database, *views: Any, **more: Any) -> Projector:
    return Projector(kafka=topics.kafka, database=database, service=database.service, views=views or [NumbersView(topics.events)], **more)


async def decide(topics: Topics, *commands: Any) -> list[Position]:
    """Appends commands and has them decided."""
    places = [await topics.appender.append(topics.inbox, "acme", command) for command in commands]
    handler = handler_of(topics, max_batch=5)
    await handler.start()
    await drained(handler, topics)
    await handler.stop()
    return places


async def numbers(database: Database, tenant: str = "*") -> list[int]:
    async with database.query(tenant) as conn:
        return [row["number"] for row in await conn.fetch("SELECT number FROM numbers ORDER BY inbox_offset")]


async def test_a_write_is_read_back_by_its_inbox_position(topics: Topics, database: Database) -> None:
    handler, projector = handler_of(topics), projector_of(topics, database)
    await asyncio.gather(handler.start(), projector.start())
    mine = await topics.appender.append(topics.inbox, "acme", add(7))
    await projector.wait(Token.of(mine), 10)
    assert await numbers(database, "acme") == [7]
    # a refused command has an outcome too, and the wait ends with it
    refused = await topics.appender.append(topics.inbox, "acme", add(13))
    await projector.wait(Token.of(refused), 10)
    await projector.stop()
    await handler.stop()


async def test_a_wait_for_what_nobody_decides_ends_in_time_and_names_it(topics: Topics, database: Database) -> None:
    projector = projector_of(topics, database)
    await projector.start()
    at = await topics.appender.append(topics.inbox, "acme", add(7))
    with pytest.raises(NotYetProjected) as caught:
        await projector.wait(Token.of(at), 0.2)
    assert caught.value.missing == {(topics.inbox, 0): 0}
    waiting = asyncio.create_task(projector.wait(Token.of(at), 20))
    await decide(topics)
    await waiting
    await projector.stop()


async def test_a_position_beyond_the_log_is_of_the_future_and_an_unknown_topic_foreign(topics: Topics, database: Database) -> None:
    projector = projector_of(topics, database)
    await projector.start()
    for position, code in (
        (Position(topic=topics.events, partition=0, offset=10_000), "token-future"),
        (Position(topic=topics.events, partition=9, offset=0), "token-future"),
        (Position(topic="no.such.topic", partition=0, offset=0), "token-foreign"),
    ):
        with pytest.raises(TokenError) as caught:
            await projector.wait(Token.of(position), 0.1)
        assert caught.value.code == code
    await projector.stop()


async def test_a_projector_goes_on_where_the_rows_are_and_knows_what_was_answered(topics: Topics, database: Database) -> None:
    places = await decide(topics, *(add(n) for n in range(1, 12)))
    first = projector_of(topics, database)
    await first.start()
    await eventually(lambda: first.ready)
    await first.stop()
    second = projector_of(topics, database)
    await second.start()
    await second.wait(Token.of(places[-1]), 0.05)
    assert await numbers(database) == list(range(1, 12))
    await eventually(lambda: second.lag() == {(topics.events, 0): 0})
    end = (await end_offsets(topics.kafka, topics.events))[0]
    assert second.position() == {(topics.events, 0): end, (topics.inbox, 0): 11}
    await second.stop()


async def test_two_projectors_of_one_view_set_do_everything_once(topics: Topics, database: Database) -> None:
    handler = handler_of(topics, max_batch=5)
    both = [projector_of(topics, database, max_batch=7) for _ in range(2)]
    await asyncio.gather(handler.start(), *(projector.start() for projector in both))
    places = [await topics.appender.append(topics.inbox, "acme", add(1)) for _ in range(200)]
    for projector in both:
        await projector.wait(Token.of(places[-1]), 20)
    async with database.query("acme") as conn:
        assert await conn.fetchval("SELECT events FROM tallies") == 200
    assert not any(projector.standing() for projector in both)
    for worker in (*both, handler):
        await worker.stop()


async def test_a_record_that_cannot_be_read_is_parked_and_the_rest_goes_on(topics: Topics, database: Database) -> None:
    await decide(topics, add(1))
    poison = [
        await topics.appender.append_bytes(topics.events, b"k", b"\x00\xffnot json", [("type", b"\xff")]),
        await topics.appender.append_bytes(topics.events, b"k", None),
        await topics.appender.append_bytes(topics.events, b"k", add(1).model_copy(update={"type": "OfTomorrow"}).to_bytes()),
    ]
    good = (await topics.events_before(poison[0].offset))[0].whole()
    data = {"number": 2, "total": 3}
    await topics.appender.append(topics.events, "acme", good.model_copy(update={"id": uuid4(), "data": data}))
    projector = projector_of(topics, database)
    await projector.start()
    await eventually(lambda: projector.ready)
    assert sorted(await numbers(database)) == [1, 2]
    async with database.query("*") as conn:
        parked = await conn.fetch('SELECT "offset", code FROM projection_errors ORDER BY "offset"')
    assert [(row["offset"], row["code"]) for row in parked] == [
        (poison[0].offset, "malformed-record"),
        (poison[1].offset, "malformed-record"),
        (poison[2].offset, "unknown-type"),
    ]
    await projector.stop()


async def test_a_view_that_raises_stands_visibly_holds_back_nothing_else_and_recovers(topics: Topics, database: Database) -> None:
    (other,) = await create_topics(topics.kafka, "other")
    await decide(topics, *(add(n) for n in (1, 2, 3)))

    class Failing(NumbersView):
        NAME = "failing"
        DDL = ""
        fails = True

        async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
            if self.fails and any(record.topic == topics.events for record in records):
                await conn.execute("SELECT 1/0")

    failing = Failing(topics.events, other)
    projector = projector_of(topics, database, NumbersView(topics.events, other), failing)
    await projector.start()
    await eventually(lambda: bool(projector.standing()))
    assert list(projector.standing()) == [(topics.events, 0)]
    assert not projector.ready
    assert await numbers(database) == [], "the good view's rows roll back with the failing one's"
    aside = await topics.appender.append(other, "acme", add(5))
    await projector.wait(Token.of(aside), 5)
    Failing.fails = False
    await eventually(lambda: projector.ready)
    assert await numbers(database) == [1, 2, 3]
    await projector.stop()


async def test_a_new_version_builds_a_schema_beside_the_old_one(topics: Topics, database: Database) -> None:
    await decide(topics, add(1))
    first = projector_of(topics, database)
    await first.start()
    await eventually(lambda: first.ready)
    old = database.schema
    await first.stop()

    class Second(NumbersView):
        VERSION = 2

    second = projector_of(topics, database, Second(topics.events))
    await second.start()
    await eventually(lambda: second.ready)
    assert database.schema != old
    assert await numbers(database) == [1], "rebuilt from the log"
    assert await database.pool.fetchval(f"SELECT count(*) FROM {old}.numbers") == 1
    await second.stop()


async def test_until_looks_again_after_every_commit_and_gives_up_in_time(topics: Topics, database: Database) -> None:
    projector = projector_of(topics, database)
    await projector.start()

    async def three() -> list[int] | None:
        found = await numbers(database)
        return found if len(found) >= 3 else None

    assert await projector.until(three, 0.1) is None
    waiting = asyncio.create_task(projector.until(three, 20))
    await decide(topics, *(add(n) for n in (1, 2, 3)))
    assert await waiting == [1, 2, 3]
    await projector.stop()


async def test_a_projector_survives_postgresql_s_restart(topics: Topics, database: Database, postgres: Any) -> None:
    projector, handler = projector_of(topics, database), handler_of(topics)
    await asyncio.gather(projector.start(), handler.start())
    first = await topics.appender.append(topics.inbox, "acme", add(1))
    await projector.wait(Token.of(first), 10)
    await asyncio.to_thread(postgres.kill)
    try:
        count, during = 1, first
        # a session may live a moment longer than its postmaster, and take a batch yet
        while not projector.standing():
            count += 1
            during = await topics.appender.append(topics.inbox, "acme", add(count))
        assert not projector.ready
    finally:
        # the session's server: every later test asks it too
        await asyncio.to_thread(postgres.start)
    await projector.wait(Token.of(during), 30)
    assert await numbers(database) == [*range(1, count + 1)]
    assert projector.ready
    await projector.stop()
    await handler.stop()


async def test_a_process_frozen_within_a_batch_does_not_hold_its_successor_for_ever(
    topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await decide(topics, add(1))
    await database.prepare([NumbersView(topics.events)])
    monkeypatch.setattr("barecount_readmodel.database.IDLE_IN_TRANSACTION", "1s")
    frozen = await Database.open(database.pool._connect_args[0], service=database.service)
    table = f"{database.schema}.projection_positions"
    async with frozen.pool.acquire() as conn:
        await conn.execute(f"INSERT INTO {table} (topic, partition, next_offset) VALUES ('{topics.events}', 0, 0)")
        await conn.execute(f"BEGIN; UPDATE {table} SET next_offset = 99")
        projector = projector_of(topics, database)
        await projector.start()
        await eventually(lambda: projector.ready)
        assert await numbers(database) == [1]
        await projector.stop()
    await frozen.close()
