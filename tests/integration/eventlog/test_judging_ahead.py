"""While one transaction is under way the next one is judged: all together, for nothing if the first fails, and unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import pytest
from aiokafka import TopicPartition
from barecount_contracts import Envelope, command_digest, parse
from barecount_eventlog import CodeFault, Emit, FencedWriter, Handler, Inbound, OutRecord, Proof, Refusal, WriterBroken

from tests.integration.eventlog.counter import Counter, Sums, add, gate
from tests.integration.eventlog.kit import Topics, drained, eventually, handler_of


class Watched(Counter):
    """Counts the commands that were decided, committed or not."""

    def __init__(self) -> None:
        self.decided = 0

    def decide(self, state: Sums, inbound: Inbound) -> Sequence[Emit]:
        self.decided += 1
        return super().decide(state, inbound)


class Held:
    """Every commit waits until it is let go; `sizes` are those that began, `told` the positions with which they went on.

    break_next: the next one is given up instead.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.told: list[int | None] = []
        self.go = asyncio.Event()
        self.break_next = False
        commit, held = FencedWriter.commit, self

        async def waiting(
            writer: FencedWriter, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]
        ) -> dict[TopicPartition, int]:
            held.sizes.append(len(records))
            await held.go.wait()
            # not before: a position that moved on meanwhile would be committed as it is now
            held.told.append(next(iter(positions.values()), None))
            if held.break_next:
                held.break_next = False
                await writer.close()
                raise WriterBroken("given up by the test")
            return await commit(writer, records, positions)

        monkeypatch.setattr(FencedWriter, "commit", waiting)


async def numbers(topics: Topics) -> list[tuple[int, int]]:
    """(number, total) of every outcome."""
    return [(one.whole().data["number"], one.whole().data["total"]) for one in await topics.outcomes()]


async def watched(topics: Topics, **more: Any) -> tuple[Handler[Any], Watched]:
    decider = Watched()
    handler: Handler[Any] = Handler(
        kafka=topics.kafka, service="test", inbox=topics.inbox, events=topics.events, decider=decider, **{"gate": gate} | more
    )
    await handler.start()
    return handler, decider


async def test_what_comes_during_a_transaction_is_judged_and_goes_into_the_next_one(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    handler, decider = await watched(topics, max_batch=4)
    for number in range(1, 8):
        await topics.appender.append(topics.inbox, "acme", add(number))
        # one at a time, so that each is a batch of its own; the transaction has room for four
        await eventually(lambda number=number: decider.decided == min(number, 5))  # type: ignore[misc]
    assert held.sizes == [1]
    assert handler.state(0) == Counter().initial(), "nothing is known before it is in the log"
    held.go.set()
    await drained(handler, topics)
    await handler.stop()
    assert held.sizes[:2] == [1, 4]
    assert await numbers(topics) == [(n, n * (n + 1) // 2) for n in range(1, 8)]


async def test_a_batch_that_is_too_large_for_the_rest_of_a_transaction_fills_it_and_begins_the_one_after(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    handler, decider = await watched(topics, max_batch=4)
    await topics.appender.append(topics.inbox, "acme", add(1))
    await eventually(lambda: decider.decided == 1)
    await topics.appender.append(topics.inbox, "acme", add(2))
    await eventually(lambda: decider.decided == 2)
    # six at once; three of them fit beside the second
    await asyncio.gather(*(topics.appender.append(topics.inbox, "acme", add(number)) for number in range(3, 9)))
    await eventually(lambda: decider.decided == 5 and handler.lag() == {0: 8})
    held.go.set()
    await drained(handler, topics)
    await handler.stop()
    assert held.sizes[:3] == [1, 4, 3]
    assert sorted(number for number, _ in await numbers(topics)) == list(range(1, 9))


async def test_a_transaction_tells_no_position_beyond_its_own_outcomes(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of what was judged while it was under way, nor of what was only read: should the owner die now, that has no outcome."""
    monkeypatch.setattr("barecount_eventlog.telling.EVERY_SECONDS", 0.0)
    held = Held(monkeypatch)
    handler, decider = await watched(topics, max_batch=4)
    for number in range(1, 8):
        await topics.appender.append(topics.inbox, "acme", add(number))
        await eventually(lambda number=number: decider.decided == min(number, 5))  # type: ignore[misc]
    # the last two are read, and wait for room
    await eventually(lambda: handler.lag() == {0: 7})
    held.go.set()
    await drained(handler, topics)
    await handler.stop()
    assert held.told[:2] == [1, 5]
    assert [told for told in held.told if told is not None] == list(accumulate(size for size in held.sizes if size))


async def test_a_transaction_that_fails_takes_with_it_what_was_judged_over_it(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    handler, decider = await watched(topics)
    for number in (1, 2, 3):
        await topics.appender.append(topics.inbox, "acme", add(number))
        await eventually(lambda number=number: decider.decided == number)  # type: ignore[misc]
    held.break_next = True
    held.go.set()
    await drained(handler, topics)
    await handler.stop()
    assert decider.decided == 6, "each was judged again"
    assert await numbers(topics) == [(1, 1), (2, 3), (3, 6)]


async def test_a_bug_met_during_a_transaction_stops_the_partition_behind_all_that_was_right(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    handler, decider = await watched(topics)
    for count, number in enumerate((1, 2, 666, 3), 1):
        await topics.appender.append(topics.inbox, "acme", add(number))
        await eventually(lambda count=count: decider.decided == min(count, 3))  # type: ignore[misc]
    held.go.set()
    await eventually(lambda: handler.failed is not None)
    assert isinstance(handler.failed, CodeFault)
    assert (handler.failed.step, handler.failed.position.offset) == ("decide", 2)
    await handler.stop()
    assert await numbers(topics) == [(1, 1), (2, 3)]


async def test_a_stop_commits_what_was_judged(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    handler, decider = await watched(topics)
    for number in (1, 2):
        await topics.appender.append(topics.inbox, "acme", add(number))
        await eventually(lambda number=number: decider.decided == number)  # type: ignore[misc]
    stopping = asyncio.create_task(handler.stop())
    await asyncio.sleep(0)  # it has told the owner
    held.go.set()
    await stopping
    assert held.sizes == [1, 1]
    assert await numbers(topics) == [(1, 1), (2, 3)]


class Prover:
    """Knows the digests of the first `known` values of a question, and vouches for none but those with an odd number."""

    def __init__(self, known: int) -> None:
        self._known = known
        self.asked = 0

    async def prove(self, values: Sequence[bytes]) -> Sequence[Proof | None]:
        self.asked += len(values)
        commands = [parse(value) for value in values[: self._known]]
        return [None if n == 0 else Proof(command_digest(one), one.data["number"] % 2 == 1) for n, one in enumerate(commands)]


async def test_the_gate_is_told_what_another_process_found_out_and_nothing_where_it_did_not(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barecount_eventlog.ahead.WORTH_PROVING", 5)
    told: list[bool | None] = []

    def asking_gate(command: Envelope, asking: Any) -> Refusal | None:
        told.append(asking.vouched)
        assert asking.digest == command_digest(command)
        return Refusal("bad-signature", "not signed") if asking.vouched is False else None

    for number in range(1, 7):
        await topics.appender.append(topics.inbox, "acme", add(number))
    prover = Prover(known=4)
    handler = handler_of(topics, prover=prover)
    handler._gate = asking_gate
    await handler.start()
    await drained(handler, topics)
    await handler.stop()
    assert (prover.asked, told) == (6, [None, False, True, False, None, None])
    outcomes = [one.envelope.type for one in await topics.outcomes()]
    assert outcomes == ["NumberAdded", "RecordRejected", "NumberAdded", "RecordRejected", "NumberAdded", "NumberAdded"]
