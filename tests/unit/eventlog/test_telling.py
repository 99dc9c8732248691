"""When an inbox position goes along with a transaction, with a clock that the test holds."""

from __future__ import annotations

from barecount_eventlog.telling import EVERY_SECONDS, Telling


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_position_is_told_at_once() -> None:
    assert Telling(0, Clock()).wait(1) == 0


def test_a_position_that_the_group_holds_is_not_told_again() -> None:
    clock = Clock()
    telling = Telling(7, clock)
    assert telling.wait(7) is None
    telling.tell(8)
    clock.now += EVERY_SECONDS
    assert telling.wait(8) is None


def test_the_next_one_waits_until_a_second_has_passed() -> None:
    clock = Clock()
    telling = Telling(0, clock)
    telling.tell(1)
    assert telling.wait(2) == EVERY_SECONDS
    clock.now += EVERY_SECONDS / 4
    assert telling.wait(3) == EVERY_SECONDS * 3 / 4
    clock.now += EVERY_SECONDS
    assert telling.wait(3) == 0
