"""Events that are entered together: as one after the other, and a fault names the record at which it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import TopicPartition
from barecount_contracts import Heading
from barecount_eventlog import CodeFault, Recorded
from barecount_eventlog.decider import EvolvesAll
from barecount_eventlog.judging import Judge, PartitionState
from barecount_eventlog.replay import Replayed
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.eventlog.counter import Counter, Sums, add, gate, tick

OUT = TopicPartition("out", 0)
MOVES = st.lists(st.tuples(st.integers(10, 14), st.integers(0, 3), st.integers(1, 3), st.sampled_from(["acme", "t1"])), max_size=20)


class Together(Counter):
    """A Counter that is asked for all at once, and knows no 11."""

    def evolve(self, state: Sums, event: Heading) -> Sums:
        if getattr(event.payload(), "number", None) == 11:
            raise RuntimeError("a bug in evolve")
        return super().evolve(state, event)  # type: ignore[arg-type]

    def evolve_all(self, state: Sums, events: Sequence[Heading]) -> Sums:
        for event in events:
            state = self.evolve(state, event)
        return state


def judge_of(decider: Counter) -> Judge[Sums]:
    return Judge(inbox="in", events="out", partitions=1, decider=decider, gate=gate, window=timedelta(days=1))


def log_of(moves: list[tuple[int, int, int, str]]) -> tuple[list[Replayed], PartitionState[Sums]]:
    """The events of these commands (number, key, events of each, tenant), and the state of who decided them."""
    judge, values = judge_of(Counter()), list[bytes]()
    state = judge.initial()
    for offset, (number, key, emits, tenant) in enumerate(moves):
        command = add(number, tenant, key=f"k{key}", emits=emits) if number != 14 else tick(0)
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=offset * key)
        answer = judge.judge(state, Recorded("in", 0, offset, now, tenant, {}, command.to_bytes(), tenant.encode()))
        state = answer.state
        values += [one.value for one in answer.out]
    return [Replayed(OUT, offset, value) for offset, value in enumerate(values)], state


@given(MOVES, st.integers(0, 40))
def test_what_is_restored_together_is_what_was_decided(moves: list[tuple[int, int, int, str]], cut: int) -> None:
    records, decided = log_of(moves)
    judge = judge_of(Counter())
    restored = judge.restore(judge.restore(judge.initial(), records[:cut]), records[cut:])
    assert restored == decided
    assert restored.books.dump() == decided.books.dump()


def test_what_evolve_raises_names_the_record_although_all_were_asked_for_at_once() -> None:
    records, _ = log_of([(10, 0, 1, "acme"), (12, 1, 1, "acme"), (11, 2, 1, "acme"), (10, 3, 1, "acme")])
    decider = Together()
    assert isinstance(decider, EvolvesAll)
    judge = judge_of(decider)
    with pytest.raises(CodeFault, match="a bug in evolve") as caught:
        judge.restore(judge.initial(), records)
    assert (caught.value.step, caught.value.position.offset) == ("evolve", 2)
    assert judge.restore(judge.initial(), records[:2]) == judge_of(Counter()).restore(judge.initial(), records[:2])


def test_an_event_that_this_release_cannot_read_is_not_passed_over() -> None:
    records, _ = log_of([(10, 0, 1, "acme"), (12, 1, 1, "acme")])
    judge = judge_of(Counter())
    with pytest.raises(CodeFault) as caught:
        judge.restore(judge.initial(), [records[0], Replayed(OUT, 7, b"{}"), records[1]])
    assert (caught.value.step, caught.value.position.offset) == ("restore", 7)
