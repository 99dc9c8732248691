"""Batches cover their positions without gap or overlap, however they are cut."""

from __future__ import annotations

from datetime import UTC, datetime

from barecount_eventlog import Batch, Recorded
from hypothesis import given
from hypothesis import strategies as st


def record(offset: int) -> Recorded:
    return Recorded("t", 0, offset, datetime(2025, 1, 1, tzinfo=UTC), "k", {}, b"v", b"k")


@given(st.sets(st.integers(5, 60), max_size=30), st.integers(1, 7), st.integers(0, 3))
def test_a_split_loses_nothing(offsets: set[int], size: int, markers: int) -> None:
    records = tuple(record(offset) for offset in sorted(offsets))
    end = max(offsets, default=5) + 1 + markers
    rest: Batch | None = Batch("t", 0, records, 5, end)
    position, seen = 5, []
    while rest is not None:
        head, rest = rest.split(size)
        assert head.start == position
        assert len(head.records) <= size
        assert all(head.start <= r.offset < head.next for r in head.records)
        position = head.next
        seen += [r.offset for r in head.records]
    assert position == end
    assert seen == sorted(offsets)
