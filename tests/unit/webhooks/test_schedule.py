"""When a delivery is tried again: laws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from barecount_webhooks.domain.schedule import DEFAULT_STEPS, LONGEST_RETRY_AFTER, Schedule, retry_after
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SCHEDULE = Schedule.parse(DEFAULT_STEPS)
chances = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(attempt=st.integers(1, SCHEDULE.attempts - 1), chance=chances)
def test_a_retry_comes_after_now_and_not_later_than_its_step(attempt: int, chance: float) -> None:
    at = SCHEDULE.retry_at(attempt, NOW, chance)
    assert at is not None
    step = SCHEDULE.steps[attempt - 1]
    assert NOW + step / 20 <= at <= NOW + step


@given(attempt=st.integers(1, SCHEDULE.attempts - 1), chance=chances, asked=st.timedeltas(timedelta(), timedelta(days=400)))
def test_what_the_receiver_asks_for_only_makes_the_wait_longer_and_has_an_end(attempt: int, chance: float, asked: timedelta) -> None:
    alone, at = SCHEDULE.retry_at(attempt, NOW, chance), SCHEDULE.retry_at(attempt, NOW, chance, asked)
    assert alone is not None
    assert at is not None
    assert at >= alone
    assert at >= NOW + min(asked, LONGEST_RETRY_AFTER)
    assert at <= NOW + max(SCHEDULE.steps[attempt - 1], LONGEST_RETRY_AFTER)


@given(attempt=st.integers(SCHEDULE.attempts, 10_000), chance=chances, asked=st.none() | st.timedeltas(timedelta(), timedelta(days=1)))
def test_after_the_last_attempt_nothing_is_planned(attempt: int, chance: float, asked: timedelta | None) -> None:
    assert SCHEDULE.retry_at(attempt, NOW, chance, asked) is None


def test_the_default_goes_on_for_days() -> None:
    assert timedelta(days=3) < sum(SCHEDULE.steps, timedelta()) < timedelta(days=5)


@given(text=st.text(max_size=40))
def test_no_header_makes_it_fail(text: str) -> None:
    found = retry_after(text, NOW)
    assert found is None or found >= timedelta()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Sat, 31 Jan 2026 12:01:00 GMT", 60),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: int | None) -> None:
    assert retry_after(text, NOW) == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize("text", ["0", "5,-1", "5,x"])
def test_a_schedule_that_would_never_wait_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Schedule.parse(text)
