"""Which stretches of a log are read for some of its records."""

from __future__ import annotations

import itertools

from barecount_eventlog.lookback import NEAR, near
from hypothesis import given
from hypothesis import strategies as st


@given(st.sets(st.integers(0, 5_000), max_size=200).map(sorted))
def test_every_record_lies_in_one_stretch_and_none_is_longer_than_its_gaps_allow(offsets: list[int]) -> None:
    spans = near(offsets)
    assert [sum(first <= offset <= last for first, last in spans) for offset in offsets] == [1] * len(offsets)
    assert {edge for span in spans for edge in span} <= set(offsets)
    assert all(later[0] - earlier[1] > NEAR for earlier, later in itertools.pairwise(spans))
