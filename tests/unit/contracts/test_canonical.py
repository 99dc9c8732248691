"""The fast way of writing canonical JSON gives the reference implementation's bytes, or its refusal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest
import rfc8785
from barecount_contracts import canonical_json, canonical_of_json
from hypothesis import example, given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(codec=None, categories=None)) | st.text('\x00\x1f\x7f"\\/\b\f\n\r\t\u2028é€\ue000\U0001f600')
LEAVES = st.none() | st.booleans() | st.integers() | st.integers(-(2**54), 2**54) | st.floats() | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner) | st.lists(inner).map(tuple), max_leaves=20)


@dataclass
class Point:
    x: int
    y: int


class Word(str):
    pass


class Number(int):
    pass


def reference(value: Any) -> Any:
    """The bytes, or what kind of refusal."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        return type(error)


def ours(value: Any) -> Any:
    try:
        return canonical_json(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        return type(error)


def of_json(value: Any) -> Any:
    try:
        return canonical_of_json(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        return type(error)


@given(VALUES)
@example(2**53)
@example([1.0, -0.0, 1e-4, 9.999e-5, 1e15, 999999999999999.9, 1e16, 0.1, 5e-324, 123456.789])
@example({"\ue000": 1, "\U0001f600": 2, "a": 3})
@example({"a\ud800": "x"})
@example(["\ud800"])
@example({1: 2})
@example([object()])
def test_every_value_is_written_or_refused_as_the_reference_does(value: Any) -> None:
    assert ours(value) == reference(value)


JSON = st.recursive(
    LEAVES | st.sampled_from(["null", ",null", ":1.5", "[-2e7", "\x7f", "\x1b"]),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS | st.text("ab"), inner),
    max_leaves=20,
)


@given(JSON)
@example(float("nan"))
@example(float("inf"))
@example(1.0)
@example(None)
@example({"a": float("nan")})
@example([2**53, 1e22])
@example([0.00001, -0.0, 1e15, 1e16, 1.5])
@example({"\ue000": 1, "\U0001f600": 2, "a": 3})
@example({"a\ud800": "x"})
@example(["\ud800"])
@example([",null", ":1.5", "[-2e7,", "\x7f\x1b\x00\u2028"])
@example({"a": ":1.5", "b": [1, 2.0, 3]})
@example([[], None, float("inf")])
@example([0.999, -12.5, 0.0001, 123456789012345.6, 1234567890123456.7, 99999999999999.98])
@example({"é": "\U0001f600", "z": "\uffff"})
def test_what_is_known_to_be_json_is_written_or_refused_as_the_reference_does(value: Any) -> None:
    assert of_json(value) == reference(value)


@given(st.floats(1e-5, 1e16) | st.floats(-1e16, -1e-5))
def test_every_fraction_is_written_as_the_reference_does(number: float) -> None:
    assert ours([number]) == canonical_of_json([number]) == reference([number])


@pytest.mark.parametrize("depth", [99, 100, 101, 5_000])
def test_deep_nesting_is_written_or_refused_as_the_reference_does(depth: int) -> None:
    value: Any = []
    for _ in range(depth):
        value = {"a": [value]}
    assert ours(value) == reference(value)
    assert depth > 101 or canonical_of_json(value) == reference(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(RecursionError):
        canonical_json(value)


@pytest.mark.parametrize("value", [datetime(2026, 11, 28, tzinfo=UTC), date(2026, 11, 28), Point(1, 2), Word("a"), [Number(1)]])
def test_what_json_does_not_have_is_refused_though_the_writer_knows_it(value: Any) -> None:
    assert of_json({"a": value}) == reference({"a": value})
