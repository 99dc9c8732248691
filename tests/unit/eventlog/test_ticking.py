"""When a tick is asked for, with a wall clock that the test holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from barecount_contracts import Position, partition_of
from barecount_eventlog.ticking import Ticking, tick_key
from hypothesis import given
from hypothesis import strategies as st

START = datetime(2025, 10, 4, tzinfo=UTC)


class Wall:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def at(offset: int) -> Position:
    return Position(topic="inbox", partition=0, offset=offset)


def ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def test_without_a_deadline_there_is_never_a_tick() -> None:
    assert Ticking(Wall()).wait(None, 0) is None


def test_a_tick_is_due_exactly_at_its_deadline() -> None:
    wall = Wall()
    ticking = Ticking(wall)
    deadline = START + timedelta(seconds=3)
    assert ticking.wait(deadline, 0) == 3
    wall.now = deadline
    assert ticking.wait(deadline, 0) == 0


def test_a_tick_under_way_is_the_only_one_until_it_is_decided() -> None:
    wall = Wall()
    ticking = Ticking(wall)
    ticking.appended(at(7), ms(START), START)
    assert ticking.wait(START, 7) is None
    assert ticking.wait(START + timedelta(seconds=1), 8) == 1


def test_a_broker_clock_behind_ours_is_waited_for() -> None:
    wall = Wall()
    ticking = Ticking(wall)
    ticking.appended(at(7), ms(START - timedelta(seconds=5)), START)
    assert ticking.wait(START, 8) == 5


def test_a_deadline_that_a_tick_does_not_move_makes_no_storm() -> None:
    wall = Wall()
    ticking = Ticking(wall)
    ticks = 0
    for _ in range(10_000):
        if ticking.wait(START, ticks) == 0:
            ticking.appended(at(ticks), ms(wall.now), START)
            ticks += 1
        wall.now += timedelta(milliseconds=1)
    assert ticks <= 12


@given(st.integers(1, 64), st.data())
def test_the_key_of_a_tick_belongs_to_its_partition(partitions: int, data: st.DataObject) -> None:
    partition = data.draw(st.integers(0, partitions - 1))
    assert partition_of(tick_key(partition, partitions), partitions) == partition
