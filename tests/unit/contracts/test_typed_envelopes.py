"""A record read in one pass is what two passes read, byte by byte when it is written again; and what is wrong has the same code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
from barecount_contracts import REGISTRY, Envelope, EnvelopeError, RunLogged, TypedEnvelope, event_id, parse, read, typed
from barecount_contracts import envelope as of_envelopes
from hypothesis import given
from hypothesis import strategies as st

EXAMPLES = [
    path
    for path in sorted((Path(__file__).resolve().parents[3] / "contracts" / "examples").glob("*.json"))
    if "StateChanged" not in path.name
]
HELD: dict[str, Any] = json.loads(next(path for path in EXAMPLES if path.name == "RunLogged.v1.json").read_text())


def written(**changed: Any) -> bytes:
    return json.dumps({**HELD, **changed}, separators=(",", ":")).encode()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_read_alike_and_written_alike(path: Path) -> None:
    held = Envelope.model_validate_json(path.read_text())
    value = held.to_bytes()
    found = read(value)
    assert isinstance(found, TypedEnvelope)
    assert found.payload() == held.payload()
    assert found.to_bytes() == value == typed(held, held.payload()).to_bytes()
    assert {name: getattr(found, name) for name in Envelope.model_fields if name != "data"} == held.model_dump(exclude={"data"}) | {
        name: getattr(held, name) for name in ("cause", "source", "assertion")
    }


def test_another_order_of_the_fields_and_spaces_are_read_as_well() -> None:
    turned = json.dumps(dict(reversed(HELD.items())), indent=1).encode()
    found = read(turned)
    assert isinstance(found, TypedEnvelope)
    assert found.to_bytes() == read(written()).to_bytes()


def test_a_type_named_a_second_time_is_what_counts_as_everywhere() -> None:
    twice = written()[:-1] + b',"type":"RunStarted"}'
    assert parse(twice).type == read(twice).type == "RunStarted"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "malformed-record"),
        (b"", "malformed-record"),
        (b"\x00\xff", "malformed-record"),
        (written()[:-1], "malformed-record"),
        (written(id="no uuid"), "malformed-record"),
        (written(surplus=1), "malformed-record"),
        (written(type="Nothing"), "unknown-type"),
        (written(version=99), "unknown-type"),
        (written(data={}), "invalid-payload"),
        (written(data={**HELD["data"], "surplus": 1}), "invalid-payload"),
    ],
)
def test_what_is_wrong_has_the_code_that_it_always_had(value: bytes | None, code: str) -> None:
    with pytest.raises(EnvelopeError) as told:
        read(value).payload()
    assert told.value.code == code
    with pytest.raises(EnvelopeError) as before:
        parse(value).payload()
    assert (before.value.code, before.value.detail) == (code, told.value.detail)


def test_the_heading_of_what_this_release_does_not_know_is_read() -> None:
    assert read(written(type="Nothing")).id == UUID(HELD["id"])


@given(
    event=st.text(max_size=20), fields=st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=5))
)
def test_any_words_come_through(event: str, fields: dict[str, Any]) -> None:
    held = Envelope.model_validate(HELD)
    payload = RunLogged.model_validate({**HELD["data"], "event": event, "fields": fields})
    value = held.model_copy(update={"data": payload.to_data()}).to_bytes()
    assert read(value).to_bytes() == value == typed(held, payload).to_bytes()
    assert read(value).payload() == payload


def kept() -> dict[str, int]:
    """How much every cache of the package holds, by the function's name."""
    modules = [module for name, module in sys.modules.items() if name.startswith("barecount_contracts")]
    found = {name: made for module in modules for name, made in vars(module).items() if hasattr(made, "cache_info")}
    return {name: made.cache_info().currsize for name, made in found.items()} | {"registry": len(REGISTRY)}


def test_names_that_a_stranger_makes_up_are_not_kept() -> None:
    read(written())
    before = kept()
    for number in range(50):
        assert read(written(type=f"Nothing{number}")).type == f"Nothing{number}"
        assert read(written(version=1000 + number)).version == 1000 + number
    assert "typed_class" in before
    assert kept() == before


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_large_record_is_read_as_a_small_one_would_be(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another parser reads it; what it reads must be the same, types included."""
    small = parse(path.read_bytes()).to_bytes()
    found = []
    assert isinstance(read(small), TypedEnvelope)
    for large in (0, len(small) + 1):
        monkeypatch.setattr(of_envelopes, "_LARGE", large)
        found.append(read(small))
    assert found[0] == found[1]
    assert repr(found[0]) == repr(found[1])


@given(st.text(), st.integers(0, 2**31), st.integers(0, 2**63), st.integers(0, 10_000))
def test_the_id_of_an_event_is_the_uuid5_of_its_place(topic: str, partition: int, offset: int, index: int) -> None:
    assert event_id(topic, partition, offset, index) == uuid5(of_envelopes.EVENT_NAMESPACE, f"{topic}/{partition}/{offset}/{index}")
