"""Laws of positions: what is sealed opens, and nothing else does; a ring gives each change once wherever a reader stands."""

from __future__ import annotations

import pytest
from barecount_streams.domain.cursor import BadCursor, Cursors, Place
from barecount_streams.domain.selection import Selection, Told, readable_kinds, shows
from barecount_streams.ring import Entry, Ring
from hypothesis import given
from hypothesis import strategies as st

CURSORS = Cursors(bytes(range(32)))
places = st.builds(Place, st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 2**64 - 1))
tenants = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=40)


@given(tenants, places)
def test_what_is_sealed_opens_for_its_tenant(tenant: str, place: Place) -> None:
    assert CURSORS.open(tenant, CURSORS.seal(tenant, place)) == place


@given(tenants, tenants, places)
def test_another_tenants_cursor_is_refused(tenant: str, other: str, place: Place) -> None:
    if tenant != other:
        with pytest.raises(BadCursor):
            CURSORS.open(other, CURSORS.seal(tenant, place))


@given(places, st.data())
def test_a_changed_cursor_is_refused(place: Place, data: st.DataObject) -> None:
    text = CURSORS.seal("acme", place)
    at = data.draw(st.integers(0, len(text) - 2))  # the last character has bits that mean nothing
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
    if letter != text[at]:
        with pytest.raises(BadCursor):
            CURSORS.open("acme", text[:at] + letter + text[at + 1 :])


@given(st.text(max_size=300))
def test_what_was_never_a_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        CURSORS.open("acme", text)


def test_cursors_tell_nothing_of_the_position() -> None:
    near, far = CURSORS.seal("acme", Place(1, 0, 1)), CURSORS.seal("acme", Place(1, 0, 10**15))
    assert len(near) == len(far)
    assert CURSORS.seal("acme", Place(1, 0, 1)) != near, "equal positions look different"
    with pytest.raises(BadCursor):
        Cursors(bytes(32)).open("acme", near)


def entry(offset: int, size: int = 10) -> Entry:
    return Entry(0, offset, Told("acme", "run.started", "run", None, None), "{}", size)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=60),
    st.integers(1, 20),
    st.integers(10, 400),
    st.lists(st.integers(1, 7), min_size=1, max_size=60),
)
def test_a_reader_of_a_ring_gets_each_change_once_until_it_falls_below_the_floor(
    steps: list[int], records: int, size: int, limits: list[int]
) -> None:
    """steps: distances between offsets, where control markers lie. The reader looks after every put."""
    ring, position, had, put = Ring(0, 5, records=records, size=size), 5, list[int](), list[int]()
    offset = 5
    for number, step in enumerate(steps):
        offset += step
        ring.put([entry(offset - 1)], offset)
        put.append(offset - 1)
        found, position = ring.after(position, limits[number % len(limits)]) if position >= ring.floor else ([], position)
        had += [one.offset for one in found]
        kept = [one.offset for one in ring.after(ring.floor, 10_000)[0]]
        assert kept == [one for one in put if one >= ring.floor], "the ring holds everything from its floor on"
        assert len(kept) <= records
    if position >= ring.floor:
        found, position = ring.after(position, 10_000)
        had += [one.offset for one in found]
        assert position == ring.next
        assert had == put
    assert had == put[: len(had)]


def test_a_ring_is_bounded_by_bytes_too_and_keeps_the_newest() -> None:
    ring = Ring(0, 0, records=100, size=50)
    ring.put([entry(0, 30), entry(1, 30), entry(2, 500)], 3)
    assert [one.offset for one in ring.after(ring.floor, 9)[0]] == [2]
    assert ring.floor == 2


OWN = Told("acme", "run.failed", "run", "revenue", "r1")


def test_no_filter_shows_another_tenants_change_or_a_kind_that_may_not_be_read() -> None:
    everything = Selection(("*",))
    assert shows(everything, "acme", frozenset({"run"}), OWN)
    assert not shows(everything, "globex", frozenset({"run"}), OWN)
    assert not shows(everything, "acme", frozenset({"pipeline"}), OWN)
    assert readable_kinds(lambda action: action == "runs:read") == {"run"}


@pytest.mark.parametrize(
    ("selection", "shown"),
    [
        (Selection(), True),
        (Selection(types=("run.*",)), True),
        (Selection(types=("run.failed", "task.*")), True),
        (Selection(types=("task.*",)), False),
        (Selection(kinds=frozenset({"pipeline"})), False),
        (Selection(pipelines=frozenset({"revenue", "cost"})), True),
        (Selection(pipelines=frozenset({"cost"})), False),
        (Selection(run_ids=frozenset({"r2"})), False),
        (Selection(types=("run.*",), run_ids=frozenset({"r1"})), True),
    ],
)
def test_filters_narrow(selection: Selection, shown: bool) -> None:
    assert shows(selection, "acme", frozenset({"run"}), OWN) is shown
