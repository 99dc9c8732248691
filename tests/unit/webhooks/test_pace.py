"""How fast an endpoint is called: more while it takes, less when it is overloaded, once in a while when it takes nothing."""

from __future__ import annotations

import pytest
from barecount_webhooks.domain.outcome import Failed, Taken, answered, is_gone, judged
from barecount_webhooks.domain.pace import BREAK_AFTER, Answered, Pace
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit

answers = st.lists(st.tuples(st.sampled_from(["taken", "refused", "overloaded"]), st.floats(0, 100), st.floats(0, 1e6)), max_size=200)


@given(answers=answers)
def test_whatever_is_answered_the_pace_stays_in_its_bounds(answers: list[tuple[Answered, float, float]]) -> None:
    pace, now = Pace(most=16), 0.0
    for answer, later, asked in answers:
        now += later
        pace.ended(answer, now, asked)
        assert 1 <= pace.limit <= 16
        assert pace.room(now) <= 16
        # no endpoint is left alone for longer than the longest pause
        assert pace.room(max(now, pace.not_before)) >= 1
        assert pace.not_before <= now + pace.pause[1]


def test_an_overloaded_endpoint_is_called_half_as_often_at_once_and_recovers_step_by_step() -> None:
    pace = Pace(limit=8)
    pace.ended("overloaded", 0)
    assert pace.room(0) == 4
    for _ in range(5):
        pace.ended("taken", 0)
    assert pace.room(0) == 5


def test_what_the_receiver_asks_for_holds_for_its_whole_lane() -> None:
    pace = Pace()
    pace.ended("overloaded", 10, asked_to_wait=30)
    assert pace.room(39.9) == 0
    assert pace.room(40) == 2


def test_an_endpoint_that_takes_nothing_is_probed_by_one_call_and_closed_again_by_a_success() -> None:
    pace = Pace()
    for _ in range(BREAK_AFTER):
        pace.ended("refused", 0)
    assert pace.breaker(0) == "open"
    assert pace.room(0) == 0
    assert pace.breaker(1) == "half-open"
    assert pace.room(1) == 1
    pace.in_flight = 1
    assert pace.room(1) == 0
    pace.in_flight = 0
    pace.ended("refused", 1)
    assert pace.not_before == 3
    pace.ended("taken", 3)
    assert pace.breaker(3) == "closed"
    assert pace.room(3) == 4


@pytest.mark.parametrize(
    ("status", "error", "load"),
    [(200, None, "taken"), (204, None, "taken"), (301, "redirect", "refused"), (400, "status", "refused"), (410, "status", "refused"),
     (429, "status", "overloaded"), (500, "status", "refused"), (502, "status", "overloaded"), (503, "status", "overloaded"),
     (100, "status", "refused")],
)  # fmt: skip
def test_only_2xx_is_taken(status: int, error: str | None, load: str) -> None:
    outcome = judged(status, "", None)
    assert answered(outcome) == load
    assert isinstance(outcome, Taken) is (error is None)
    assert isinstance(outcome, Taken) or outcome.error_type == error
    assert is_gone(outcome) is (status == 410)


def test_a_timeout_is_load_and_a_closed_port_is_not() -> None:
    assert answered(Failed("timeout", "")) == "overloaded"
    assert answered(Failed("connection", "")) == "refused"
