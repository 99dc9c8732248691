"""The ids that a handler remembers, in blocks: the same as a plain dict, however many and whenever they are sealed."""

from __future__ import annotations

import random

import pytest
from barecount_eventlog import ids as module
from barecount_eventlog.ids import Ids
from hypothesis import given
from hypothesis import strategies as st

entries = st.lists(
    st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32)), max_size=40, unique_by=lambda pair: pair[0]
)


def filled(pairs: list[tuple[bytes, bytes]]) -> tuple[Ids, dict[bytes, bytes]]:
    ids, plain = Ids(), dict[bytes, bytes]()
    for key, value in pairs:
        ids = ids.add(key, value)
        plain.setdefault(key, value)
    return ids, plain


@pytest.mark.parametrize("sealed", [1, 3, 7])
@given(pairs=entries, missing=st.binary(min_size=16, max_size=16))
def test_every_id_is_found_with_its_first_value_and_no_other(sealed: int, pairs: list[tuple[bytes, bytes]], missing: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEALED", sealed)
        ids, plain = filled(pairs)
        assert {key: ids.get(key) for key in plain} == plain
        assert ids.get(missing) == plain.get(missing)
        assert len(ids) == len(plain)
        again = Ids.load(ids.dump())
        assert {key: again.get(key) for key in plain} == plain
        assert again == ids
        patch.setattr(module, "SEALED", 1000)
        assert filled(pairs)[0].dump() == ids.dump()


@pytest.mark.parametrize("sealed", [1, 2, 5])
def test_the_first_time_of_an_id_stands(sealed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEALED", sealed)
    first, second = (1).to_bytes(32), (2).to_bytes(32)
    ids = Ids().add(b"a" * 16, first).add(b"b" * 16, first).add(b"a" * 16, second)
    assert ids.get(b"a" * 16) == first
    assert Ids.load(ids.dump()).get(b"a" * 16) == first


def test_what_was_added_does_not_show_in_what_was_before() -> None:
    before = Ids().add(b"a" * 16, b"1" * 32)
    after = before.add(b"b" * 16, b"2" * 32)
    assert before.get(b"b" * 16) is None
    assert after.get(b"a" * 16) == b"1" * 32


@pytest.mark.parametrize("sealed", [2, 5, 1000])
@given(steps=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=30))
def test_however_values_grow_out_of_each_other_each_holds_its_own_ids_only(sealed: int, steps: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEALED", sealed)
        grown: list[tuple[Ids, dict[bytes, bytes]]] = [(Ids(), {})]
        for step, (older, name) in enumerate(steps):
            ids, plain = grown[older % len(grown)]
            key, value = name.to_bytes(16), step.to_bytes(32)
            # as a handler does: what is known is not added
            if ids.get(key) is None:
                grown.append((ids.add(key, value), plain | {key: value}))
        for ids, plain in grown:
            assert {name: ids.get(name.to_bytes(16)) for name in range(7)} == {name: plain.get(name.to_bytes(16)) for name in range(7)}
            assert ids.dump() == b"".join(sorted(key + value for key, value in plain.items()))
            assert len(ids) == len(plain)


@pytest.mark.parametrize("sealed", [2, 5, 1000])
@given(steps=st.lists(st.tuples(st.integers(0, 50), st.lists(st.integers(0, 9), max_size=6)), max_size=20))
def test_several_added_at_once_are_as_one_after_the_other(sealed: int, steps: list[tuple[int, list[int]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEALED", sealed)
        together, each = [Ids()], [Ids()]
        for step, (older, names) in enumerate(steps):
            at = older % len(each)
            pairs = [(name.to_bytes(16), (step * 10 + number).to_bytes(32)) for number, name in enumerate(names)]
            # as a handler does: what is known is not added
            news = [(key, value) for key, value in pairs if each[at].get(key) is None]
            one = each[at]
            for key, value in news:
                one = one.add(key, value)
            each.append(one)
            together.append(together[at].add_all(news))
        for one, all_ in zip(each, together, strict=True):
            assert all_ == one
            assert len(all_) == len(one)
            assert [all_.get(name.to_bytes(16)) for name in range(10)] == [one.get(name.to_bytes(16)) for name in range(10)]


def test_an_id_that_comes_twice_at_once_keeps_its_first_time() -> None:
    ids = Ids().add_all([(b"a" * 16, b"1" * 32), (b"a" * 16, b"2" * 32), (b"b" * 16, b"3" * 32)])
    assert ids == Ids().add(b"a" * 16, b"1" * 32).add(b"b" * 16, b"3" * 32)


def test_a_whole_block_and_more_are_found_again() -> None:
    dice = random.Random(6)
    pairs = [(dice.randbytes(16), dice.randbytes(32)) for _ in range(module.SEALED + 100)]
    ids = Ids.load(b"".join(sorted(key + value for key, value in pairs)))
    assert len(ids) == len(pairs)
    assert all(ids.get(key) == value for key, value in pairs)
    assert not any(ids.get(dice.randbytes(16)) for _ in range(1_000))
