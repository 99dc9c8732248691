"""What `as_of` may say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from aiokafka import TopicPartition
from barecount_readmodel import AsOfError
from barecount_readmodel.moment import LONGEST, Instant, Positions, parse_moment, told
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "now", "yesterday", "1764064800", "2026-11-25", "2026-W48-3T10:00:00Z", "20261125T100000Z", "2026-11-25T10:00Z"),
        *("2026-11-25T10:00:00.Z", "2026-11-25T24:00:00Z", "2026-11-25T10:00:60Z", "2026-02-30T10:00:00Z", "2026-11-25T10:00:00+25:00"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "２０２６-11-25T10:00:00Z", "2026-11-25T10:00:00Z\x00"),
        *("control.events", "control.events/1", "control.events@1", "control.events/1@", "control.events/-1@1", "control.events/1@-2"),
        *(
            "control.events/1@1e3",
            "CONTROL/1@1",
            "a/1@1,",
            ",a/1@1",
            "a/1@1;b/1@1",
            "a/1@9999999999999999999",
            "a/1@1,2026-11-25T10:00:00Z",
        ),
        "x" * (LONGEST + 1),
    ],
)
def test_anything_but_a_time_or_positions_is_refused(text: str) -> None:
    with pytest.raises(AsOfError) as refused:
        parse_moment(text)
    assert refused.value.code == "as-of-malformed"


def test_a_time_without_zone_is_refused_with_what_to_add() -> None:
    with pytest.raises(AsOfError, match="names no zone; end it with Z"):
        parse_moment("2026-11-25T10:00:00.5")


def test_a_partition_named_twice_is_refused() -> None:
    with pytest.raises(AsOfError, match=r"control\.events/1 is named twice"):
        parse_moment("control.events/1@3,runs.events/1@3,control.events/1@4")


@pytest.mark.parametrize(
    "text", ["2026-11-25T10:00:00+01:00", "2026-11-25T10:00:00 01:00", "2026-11-25t09:00:00z", "2026-11-25T09:00:00.000000999Z"]
)
def test_the_same_instant_may_be_written_in_any_zone_and_with_a_plus_that_a_url_made_a_space(text: str) -> None:
    assert parse_moment(text) == Instant(datetime(2026, 11, 25, 9, tzinfo=UTC))


zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=zones))
def test_every_time_is_read_as_the_instant_that_it_is(time: datetime) -> None:
    assert parse_moment(time.isoformat()) == Instant(time.astimezone(UTC))


places = st.tuples(st.sampled_from(["control.events", "runs.events", "run.logs"]), st.integers(0, 99)).map(
    lambda pair: TopicPartition(*pair)
)


@given(st.dictionaries(places, st.integers(-1, 2**59), min_size=1, max_size=20))
def test_positions_are_read_as_they_were_told(offsets: dict[TopicPartition, int]) -> None:
    assert parse_moment(told(offsets)) == Positions(offsets)
