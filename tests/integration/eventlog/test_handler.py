from __future__ import annotations

import asyncio
from typing import Any

from barecount_eventlog import Handler, end_offsets

from tests.integration.eventlog.counter import Counter, add, gate
from tests.integration.eventlog.kit import Topics


def handler_of(topics: Topics, **more: Any) -> Handler[Any]:
    return Handler(kafka=topics.kafka, service="test", inbox=topics.inbox, events=topics.events, decider=Counter(), gate=gate, **more)


async def drained(handler: Handler[Any], topics: Topics, seconds: float = 30) -> None:
    """Until every inbox record has its outcome."""
    async with asyncio.timeout(seconds):
        end = (await end_offsets(topics.kafka, topics.inbox))[0]
        while handler._owners[0].state.books.inbox_next < end:
            assert handler.failed is None, handler.failed
            await asyncio.sleep(0.01)


async def test_every_inbox_offset_gets_exactly_one_outcome(topics: Topics) -> None:
    handler = handler_of(topics)
    await handler.start()
    await asyncio.gather(*(topics.appender.append(topics.inbox, "acme", add(n)) for n in range(50)))
    await drained(handler, topics)
    await handler.stop()
    outcomes = await topics.outcomes()
    assert [e.envelope.cause.offset for e in outcomes] == list(range(50))
    assert handler.state(0).totals["acme"] == sum(range(50)) - 13  # 13 is refused
