"""When a tick is asked for, with a wall clock that the test holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from barecount_contracts import Position, partition_of
from barecount_eventlog.ticking import Ticking, tick_key
from hypothesis import given
from hypothesis import strategies as st

START = datetime(2025, 10, 4, tzinfo=UTC)


class Wall:
    """Time passes with `pass_`; only the wall clock can be set."""

    def __init__(self) -> None:
        self.now, self.elapsed = START, 0.0

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.elapsed += seconds


def ticking_by(wall: Wall) -> Ticking:
    return Ticking(wall, lambda: wall.elapsed)


def at(offset: int) -> Position:
    return Position(topic="inbox", partition=0, offset=offset)


def ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def test_without_a_deadline_there_is_never_a_tick() -> None:
    assert ticking_by(Wall()).wait(None, 0) is None


def test_a_tick_is_due_exactly_at_its_deadline() -> None:
    wall = Wall()
    ticking = ticking_by(wall)
    deadline = START + timedelta(seconds=3)
    assert ticking.wait(deadline, 0) == 3
    wall.now = deadline
    assert ticking.wait(deadline, 0) == 0


def test_a_tick_under_way_is_the_only_one_until_it_is_decided() -> None:
    wall = Wall()
    ticking = ticking_by(wall)
    ticking.appended(at(7), ms(START), START)
    assert ticking.wait(START, 7) is None
    assert ticking.wait(START + timedelta(seconds=1), 8) == 1


def test_a_broker_clock_behind_ours_is_waited_for() -> None:
    wall = Wall()
    ticking = ticking_by(wall)
    ticking.appended(at(7), ms(START - timedelta(seconds=5)), START)
    assert ticking.wait(START, 8) == 5


def test_a_deadline_that_a_tick_does_not_move_makes_no_storm() -> None:
    wall = Wall()
    ticking = ticking_by(wall)
    ticks = 0
    for _ in range(10_000):
        if ticking.wait(START, ticks) == 0:
            ticking.appended(at(ticks), ms(wall.now), START)
            ticks += 1
        wall.pass_(0.001)
    assert ticks <= 12


def test_a_wall_clock_that_is_set_back_delays_no_deadline_of_a_broker_whose_clock_is_right() -> None:
    wall = Wall()
    ticking = ticking_by(wall)
    deadline = START + timedelta(seconds=10)
    ticking.heard(START)
    wall.now -= timedelta(hours=1)
    assert ticking.wait(deadline, 0) == 10, "the broker's time, as it was heard"
    wall.pass_(10)
    assert ticking.wait(deadline, 0) == 0
    # nor the pause after a tick that came too early
    ticking.appended(at(0), ms(deadline - timedelta(seconds=2)), deadline)
    wall.now -= timedelta(hours=1)
    assert ticking.wait(deadline, 1) == 2


def test_a_broker_clock_that_was_set_back_is_asked_again_every_minute() -> None:
    wall = Wall()
    ticking = ticking_by(wall)
    ticking.appended(at(7), ms(START - timedelta(hours=1)), START)
    assert ticking.wait(START, 8) == 60


@given(st.integers(1, 64), st.data())
def test_the_key_of_a_tick_belongs_to_its_partition(partitions: int, data: st.DataObject) -> None:
    partition = data.draw(st.integers(0, partitions - 1))
    assert partition_of(tick_key(partition, partitions), partitions) == partition
