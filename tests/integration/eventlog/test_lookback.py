"""Single records of a real log, and the time at a position: each is read once, and nothing is waited for."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import TopicPartition
from barecount_eventlog import Lookback

from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, drained, handler_of

pytestmark = pytest.mark.integration


def counted(log: Lookback) -> list[Any]:
    """The fetches that a lookback sends from now on."""
    client: Any = log._consumer._client
    send, sent = client.send, list[Any]()

    async def sending(node: Any, request: Any, **more: Any) -> Any:
        if type(request).__name__.startswith("FetchRequest"):
            sent.append(request)
        return await send(node, request, **more)

    client.send = sending
    return sent


async def test_a_question_fetches_each_stretch_once_and_nothing_at_the_end_of_the_log(topics: Topics) -> None:
    handler = handler_of(topics)
    await handler.start()
    for number in range(1, 6):
        # one transaction each, so that markers stand between the events
        await topics.appender.append(topics.inbox, "acme", add(number))
        await drained(handler, topics)
    await handler.stop()
    events = await topics.all_events()
    where = TopicPartition(topics.events, 0)
    async with Lookback(topics.kafka, [topics.events], "test") as log:
        sent = counted(log)
        end = (await log.ends([where]))[where]
        assert events[-1].offset < end - 1, "the last position is a marker's"
        assert await log.time_at(where, end - 1) == events[-1].envelope.time
        assert await log.time_at(where, events[0].offset) == events[0].envelope.time
        assert [record.offset for record in await log.records(where, [event.offset for event in events])] == [e.offset for e in events]
        assert await log.time_at(where, -1) is None
        # answered behind whatever is still asked on the same connection
        await log.ends([where])
        assert len(sent) == 3
