"""RFC 7396 and the differences that people read."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from barecount_manifest import ABSENT, NotCanonical, diff, digest, merge, same
from hypothesis import given
from hypothesis import strategies as st

# RFC 7396, Appendix A: original, patch, result
APPENDIX_A: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=12
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4)


def rfc7396(target: Any, patch: Any) -> Any:
    """The pseudo code of RFC 7396 section 2, written down again as an oracle."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = rfc7396(result.get(name), value)
    return result


@pytest.mark.parametrize(("original", "patch", "result"), APPENDIX_A)
def test_merge_gives_what_the_appendix_of_rfc_7396_says(original: Any, patch: Any, result: Any) -> None:
    assert merge(original, patch) == result


@given(JSON, JSON)
def test_merge_agrees_with_the_pseudo_code_and_touches_neither_argument(base: Any, patch: Any) -> None:
    before = copy.deepcopy((base, patch))
    merged = merge(base, patch)
    assert same(merged, rfc7396(base, patch))
    assert (base, patch) == before


@given(OBJECTS, OBJECTS)
def test_a_merge_shares_nothing_with_its_arguments(base: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy((base, patch))
    spoil(merge(base, patch))
    assert (base, patch) == before


def spoil(value: Any) -> None:
    if isinstance(value, dict):
        for inner in value.values():
            spoil(inner)
        value["spoiled"] = True
    elif isinstance(value, list):
        for inner in value:
            spoil(inner)
        value.append("spoiled")


@given(OBJECTS, JSON)
def test_merging_a_patch_twice_is_merging_it_once(base: dict[str, Any], patch: Any) -> None:
    once = merge(base, patch)
    assert same(merge(once, patch), once)


@given(JSON, JSON)
def test_there_is_no_difference_exactly_when_the_digests_are_equal(before: Any, after: Any) -> None:
    assert (diff(before, after) == []) == (digest({"v": before}) == digest({"v": after}))


@given(JSON, JSON)
def test_a_difference_read_backwards_swaps_its_sides(before: Any, after: Any) -> None:
    there = {(c.path, repr(c.before), repr(c.after)) for c in diff(before, after)}
    back = {(c.path, repr(c.after), repr(c.before)) for c in diff(after, before)}
    assert there == back


def test_true_is_not_one() -> None:
    assert [change.as_dict() for change in diff({"a": True}, {"a": 1})] == [{"path": "/a", "before": True, "after": 1}]


def test_a_stage_is_matched_by_its_name_and_not_by_its_place() -> None:
    before = {"stages": [{"name": "read"}, {"name": "sum", "sql": "SELECT 1"}]}
    after = {"stages": [{"name": "read"}, {"name": "check"}, {"name": "sum", "sql": "SELECT 2"}]}
    changes = diff(before, after)
    assert [(change.path, change.before, change.after) for change in changes] == [
        ("/stages/sum/sql", "SELECT 1", "SELECT 2"),
        ("/stages/check", ABSENT, {"name": "check"}),
    ]


def test_another_order_of_stages_is_a_difference() -> None:
    changes = diff([{"name": "a"}, {"name": "b"}], [{"name": "b"}, {"name": "a"}])
    assert [(change.path, change.before, change.after) for change in changes] == [("", ["a", "b"], ["b", "a"])]


def test_a_digest_does_not_depend_on_the_order_of_fields() -> None:
    assert digest({"b": 1, "a": "é"}) == digest({"a": "é", "b": 1})
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", object()])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(NotCanonical):
        digest({"a": value})


def test_a_lone_surrogate_in_a_key_is_refused() -> None:
    with pytest.raises(NotCanonical):
        digest({"\ud800": 1})
