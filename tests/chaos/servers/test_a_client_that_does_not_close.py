"""A Kafka client that cannot be closed after its broker died ends nobody who works with it.

aiokafka's own close raises what its fetch task died of, and awaits the tasks that it has cancelled: that raises CancelledError into
whoever closes it. Seen when the log's disk was full: the owner of the partition had ended, without a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from barecount_eventlog import Deriver, WriterBroken
from barecount_eventlog.writer import FencedWriter
from barecount_readmodel import Database, Token

from tests.chaos.eventlog.owner_process import echo
from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, create_topics, drained, eventually, handler_of
from tests.integration.readmodel.test_projector import numbers, projector_of

pytestmark = pytest.mark.chaos

CLOSINGS = [asyncio.CancelledError, KafkaConnectionError]


@pytest.fixture(params=CLOSINGS, ids=lambda kind: kind.__name__)
def unclosable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called: from now on every client is closed and then raises."""

    def begin() -> None:
        for client in (AIOKafkaConsumer, AIOKafkaProducer):
            stop = client.stop

            async def raising(self: Any, stop: Any = stop) -> None:
                await stop(self)
                raise request.param

            monkeypatch.setattr(client, "stop", raising)

    return begin


@pytest.fixture
def broken_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called: the next transaction's end is not known."""

    def begin() -> None:
        commit, left = FencedWriter.commit, [1]

        async def failing(self: FencedWriter, *given: Any) -> Any:
            if left:
                left.pop()
                raise WriterBroken("the broker is gone")
            return await commit(self, *given)

        monkeypatch.setattr(FencedWriter, "commit", failing)

    return begin


async def test_an_owner_takes_its_partition_again(
    topics: Topics, unclosable: Callable[[], None], broken_once: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = handler_of(topics)
    await handler.start()
    unclosable()
    broken_once()
    await topics.appender.append(topics.inbox, "acme", add(5))
    await drained(handler, topics)
    assert handler.ready
    assert handler.state(0).totals["acme"] == 5
    monkeypatch.undo()
    await handler.stop()


async def test_a_deriver_goes_on(
    topics: Topics, unclosable: Callable[[], None], broken_once: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (output,) = await create_topics(topics.kafka, "output")
    deriver = Deriver(
        kafka=topics.kafka, service="test", name=output, sources=[topics.inbox], output=output, output_partition=0, transform=echo
    )
    await deriver.start()
    unclosable()
    broken_once()
    await topics.appender.append(topics.inbox, "acme", add(5))
    await eventually(lambda: deriver.ready and deriver.positions[topics.inbox, 0] > 0 and sum(deriver.lag().values()) == 0)
    monkeypatch.undo()
    await deriver.stop()


async def test_a_projector_opens_the_log_again(
    topics: Topics, database: Database, unclosable: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, projector = handler_of(topics), projector_of(topics, database)
    await asyncio.gather(handler.start(), projector.start())
    unclosable()
    assert projector._reader is not None
    projector._reader._fail(KafkaConnectionError("the broker is gone"))
    at = await topics.appender.append(topics.inbox, "acme", add(5))
    await projector.wait(Token.of(at), 20)
    assert await numbers(database) == [5]
    await eventually(lambda: projector.ready)
    monkeypatch.undo()
    await asyncio.gather(projector.stop(), handler.stop())
