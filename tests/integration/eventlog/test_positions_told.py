"""The group's position goes along with a transaction once a second: never ahead of the outcomes, and never far behind for long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from barecount_eventlog import FencedWriter, OutRecord, committed_offsets
from barecount_eventlog.judging import Judge

from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, drained, eventually, handler_of


async def group_at(topics: Topics) -> int:
    where = TopicPartition(topics.inbox, 0)
    return (await committed_offsets(topics.kafka, f"test.{topics.inbox}", [where])).get(where, 0)


async def decided_one_by_one(topics: Topics, count: int) -> None:
    for number in range(count):
        await topics.appender.append(topics.inbox, "acme", add(number))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int | None]]:
    """(records, position told) of every transaction."""
    found: list[tuple[int, int | None]] = []
    real = FencedWriter.commit

    async def commit(
        self: FencedWriter, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        found.append((len(records), next(iter(positions.values()), None)))
        return await real(self, records, positions)

    monkeypatch.setattr(FencedWriter, "commit", commit)
    return found


async def test_most_transactions_of_a_busy_owner_go_without_it(topics: Topics, written: list[tuple[int, int | None]]) -> None:
    handler = handler_of(topics, max_batch=1)
    await handler.start()
    began = asyncio.get_running_loop().time()
    await decided_one_by_one(topics, 40)
    await drained(handler, topics)
    seconds = asyncio.get_running_loop().time() - began
    assert len([told for records, told in written if records]) == 40
    assert len([told for _, told in written if told is not None]) <= seconds + 2
    await handler.stop()


async def test_an_idle_owner_tells_what_it_has_decided(topics: Topics) -> None:
    handler = handler_of(topics)
    await handler.start()
    await decided_one_by_one(topics, 5)
    await drained(handler, topics)
    async with asyncio.timeout(10):
        while await group_at(topics) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # between two questions to the broker
    await handler.stop()


async def test_an_owner_that_stops_leaves_no_lag(topics: Topics, written: list[tuple[int, int | None]]) -> None:
    handler = handler_of(topics)
    await handler.start()
    await decided_one_by_one(topics, 5)
    await eventually(lambda: sum(records for records, _ in written) >= 5)
    await handler.stop()
    assert await group_at(topics) == 5


async def test_an_owner_that_stops_does_not_wait_for_a_broker_that_is_away(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = handler_of(topics, max_batch=1)
    await handler.start()
    real, telling = FencedWriter.commit, asyncio.Event()

    async def commit(self: FencedWriter, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]) -> Any:
        if records:
            return await real(self, records, {})
        telling.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(FencedWriter, "commit", commit)
    monkeypatch.setattr("barecount_eventlog.owner.TELL_SECONDS", 0.1)
    monkeypatch.setattr("barecount_eventlog.handler.STOP_SECONDS", 3600.0)
    await decided_one_by_one(topics, 5)
    await drained(handler, topics)
    await handler.stop()
    assert telling.is_set(), "it tried to tell its position"
    assert len(await topics.outcomes()) == 5


async def test_what_is_judged_while_a_position_is_told_is_committed_by_an_owner_that_stops(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    # two transactions within a second: the position of the second one is told by itself
    handler = handler_of(topics, max_batch=1)
    await handler.start()
    real, telling, go_on = FencedWriter.commit, asyncio.Event(), asyncio.Event()

    async def commit(self: FencedWriter, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]) -> Any:
        if records:
            return await real(self, records, {})
        telling.set()
        await go_on.wait()
        return await real(self, records, positions)

    monkeypatch.setattr(FencedWriter, "commit", commit)
    monkeypatch.setattr("barecount_eventlog.owner.TELL_SECONDS", 0.1)
    await decided_one_by_one(topics, 2)
    await telling.wait()
    judged = asyncio.Event()
    judge = Judge.judge
    monkeypatch.setattr(Judge, "judge", lambda self, *given: (judged.set(), judge(self, *given))[1])
    await topics.appender.append(topics.inbox, "acme", add(7))
    await judged.wait()
    stopping = asyncio.create_task(handler.stop())
    await asyncio.wait({stopping}, timeout=0.5)
    assert not stopping.done(), "one outcome waits for its transaction"
    go_on.set()
    await stopping
    assert len(await topics.outcomes()) == 3


async def test_a_record_that_stops_the_partition_is_not_told_as_decided(topics: Topics) -> None:
    for number in (1, 2, 666, 4):
        await topics.appender.append(topics.inbox, "acme", add(number))
    handler = handler_of(topics)
    await handler.start()
    await eventually(lambda: handler.failed is not None)
    await handler.stop()
    assert await group_at(topics) == 2


async def test_a_successor_goes_on_after_the_outcomes_not_after_the_position(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill within that second: the log knows more than the group."""
    monkeypatch.setattr("barecount_eventlog.telling.EVERY_SECONDS", 3600.0)
    first = handler_of(topics)
    await first.start()
    await decided_one_by_one(topics, 6)
    await drained(first, topics)
    assert await group_at(topics) < 6
    second = handler_of(topics)
    await second.start()
    await topics.appender.append(topics.inbox, "acme", add(100))
    await drained(second, topics)
    await second.stop()
    await first.stop()
    assert [event.envelope.cause.offset for event in await topics.outcomes() if event.envelope.cause] == list(range(7))
    assert second.state(0).totals["acme"] == 115
    assert await group_at(topics) == 7
