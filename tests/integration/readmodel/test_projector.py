from __future__ import annotations

import asyncio

from barecount_readmodel import Database, Projector, Token

from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, handler_of
from tests.integration.readmodel.kit import NumbersView


async def test_a_write_is_read_back_by_its_inbox_position(topics: Topics, database: Database) -> None:
    handler = handler_of(topics)
    projector = Projector(kafka=topics.kafka, database=database, service=database.service, views=[NumbersView(topics.events)])
    await asyncio.gather(handler.start(), projector.start())
    position = await topics.appender.append(topics.inbox, "acme", add(7))
    await topics.appender.append(topics.inbox, "acme", add(5, tenant="other"))
    await projector.wait(Token.of(position), 10)
    async with database.query("acme") as conn:
        assert [tuple(r) for r in await conn.fetch("SELECT tenant, number FROM numbers")] == [("acme", 7)]
    await projector.stop()
    await handler.stop()
