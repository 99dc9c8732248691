"""BACKWARD: what was written under the old schema can be read with the new one. Rows as in the Confluent registry's own cases."""

from __future__ import annotations

from typing import Any

import pytest
from barecount_command.domain.compatibility import backward
from hypothesis import given
from hypothesis import strategies as st

INT, TEXT = {"type": "integer"}, {"type": "string"}


def model(closed: bool = True, required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": not closed}


REFUSED = {
    "a required property more": (model(a=INT), model(a=INT, b=TEXT, required=("b",))),
    "an optional property that becomes required": (model(a=INT), model(a=INT, required=("a",))),
    "a property less in a closed model": (model(a=INT, b=TEXT), model(a=INT)),
    "an optional property more in an open model": (model(False, a=INT), model(False, a=INT, b=TEXT)),
    "an open model that closes": (model(False, a=INT), model(a=INT)),
    "another type": (INT, TEXT),
    "number to integer": ({"type": "number"}, INT),
    "one type less": ({"type": ["string", "null"]}, TEXT),
    "a value less in an enum": ({"enum": [1, 2]}, {"enum": [1]}),
    "an enum where all was free": (TEXT, {"type": "string", "enum": ["a"]}),
    "a limit more": (TEXT, {"type": "string", "maxLength": 3}),
    "a limit tighter": ({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 2}),
    "another pattern": ({"type": "string", "pattern": "a"}, {"type": "string", "pattern": "b"}),
    "items of another type": ({"type": "array", "items": INT}, {"type": "array", "items": TEXT}),
    "a branch less": ({"oneOf": [INT, TEXT]}, {"oneOf": [INT]}),
    "a demand more": ({"allOf": [INT]}, {"allOf": [INT, {"minimum": 1}]}),
    "deep inside": (model(a=model(b=INT)), model(a=model(b=TEXT))),
    "behind a reference": (
        {"$ref": "#/$defs/a", "$defs": {"a": INT}},
        {"$ref": "#/$defs/a", "$defs": {"a": TEXT}},
    ),
    "another foreign reference": ({"$ref": "a.json"}, {"$ref": "b.json"}),
}
TAKEN = {
    "an optional property more in a closed model": (model(a=INT), model(a=INT, b=TEXT)),
    "a required property with a default": (model(a=INT), model(a=INT, b={"type": "string", "default": ""}, required=("b",))),
    "a property less in an open model": (model(False, a=INT, b=TEXT), model(False, a=INT)),
    "a free property more in an open model": (model(False, a=INT), model(False, a=INT, b={})),
    "a closed model that opens": (model(a=INT), model(False, a=INT)),
    "a required property that becomes optional": (model(a=INT, required=("a",)), model(a=INT)),
    "integer to number": (INT, {"type": "number"}),
    "one type more": (TEXT, {"type": ["string", "null"]}),
    "a value more in an enum": ({"enum": [1]}, {"enum": [1, 2]}),
    "a limit less": ({"type": "string", "maxLength": 3}, TEXT),
    "a limit looser": ({"type": "integer", "minimum": 2}, {"type": "integer", "minimum": 1}),
    "a branch more": ({"oneOf": [INT]}, {"oneOf": [INT, TEXT]}),
    "a union around it": (INT, {"anyOf": [INT, TEXT]}),
    "other words": ({"type": "string", "title": "a"}, {"type": "string", "title": "b", "description": "c"}),
    "a type behind a reference": ({"$ref": "#/$defs/a", "$defs": {"a": INT}}, INT),
    "a recursive model": (
        {"$ref": "#/$defs/n", "$defs": {"n": model(next={"$ref": "#/$defs/n"})}},
        {"$ref": "#/$defs/n", "$defs": {"n": model(next={"$ref": "#/$defs/n"}, note=TEXT)}},
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_readers_would_break(case: str) -> None:
    assert backward(*REFUSED[case])


@pytest.mark.parametrize("case", TAKEN)
def test_readers_go_on(case: str) -> None:
    assert backward(*TAKEN[case]) == ()


def test_a_union_of_unions_does_not_stop_a_partition() -> None:
    def deep(leaf: dict[str, Any], depth: int) -> dict[str, Any]:
        return leaf if depth == 0 else {"anyOf": [model(**{f"p{i}": deep(leaf, depth - 1)}) for i in range(4)]}

    found = backward(deep(INT, 6), deep(TEXT, 6))
    assert found


leaves = st.sampled_from([INT, TEXT, {}, {"type": "number"}, {"enum": [1, 2]}, {"type": "string", "maxLength": 5}, True])
schemas = st.recursive(
    leaves,
    lambda inner: (
        st.builds(lambda a, b, closed, must: model(closed, ("a",) if must else (), a=a, b=b), inner, inner, st.booleans(), st.booleans())
        | st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda x, y: {"anyOf": [x, y]}, inner, inner)
    ),
    max_leaves=8,
)


@given(schemas)
def test_every_schema_can_read_what_it_wrote(schema: Any) -> None:
    assert backward(schema, {**schema, "title": "again"} if isinstance(schema, dict) else schema) == ()
