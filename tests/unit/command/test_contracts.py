"""Given events, when a contract or schema is registered, then events."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from barecount_contracts import CommandDuplicated, CommandRefused, ContractRegistered, RegisterContract, RegisterSchema, SchemaRegistered
from barecount_manifest import digest

from tests.unit.command.history import History, code, sample


def contract(name: str = "revenue-kpi", **changes: Any) -> RegisterContract:
    document = sample(f"{name}.odcs", **changes)
    return RegisterContract(name=document["name"], version=document["version"], document=document)


def schema(subject: str, **properties: Any) -> RegisterSchema:
    text = json.dumps({"type": "object", "properties": properties, "additionalProperties": False})
    return RegisterSchema(subject=subject, schema_text=text)


def test_a_contract_version_with_another_content_is_refused() -> None:
    history = History()
    history.when(contract())
    events = history.when(contract(domain="finance"))
    assert code(events) == "contract-exists"
    assert isinstance(events[0], CommandRefused)
    assert events[0].extra["digest"] == digest(contract().document)


def test_a_document_that_is_no_odcs_contract_is_refused_with_every_problem() -> None:
    document = sample("revenue-kpi.odcs", apiVersion="v9", kind="Letter")
    events = History().when(RegisterContract(name="revenue-kpi", version="v3.2", document=document))
    assert code(events) == "invalid-contract"
    assert isinstance(events[0], CommandRefused)
    assert {"/apiVersion", "/kind"} <= {problem["path"] for problem in events[0].extra["errors"]}


def test_a_contract_under_another_name_than_its_document_is_refused() -> None:
    events = History().when(RegisterContract(name="other", version="v3.2", document=sample("revenue-kpi.odcs")))
    assert code(events) == "invalid-contract"


def test_a_contract_that_breaks_its_readers_is_refused() -> None:
    history = History()
    history.when(contract())
    document = copy.deepcopy(contract(version="v3.3").document)
    document["schema"][0]["properties"].pop(3)
    events = history.when(RegisterContract(name="revenue-kpi", version="v3.3", document=document))
    assert code(events) == "incompatible-schema"
    assert isinstance(events[0], CommandRefused)
    assert events[0].extra["subject"] == "acme.revenue-kpi-revenue_kpi"
    assert "revenue" in events[0].extra["messages"][0]


def test_a_contract_with_a_new_required_column_is_refused() -> None:
    history = History()
    history.when(contract())
    document = copy.deepcopy(contract(version="v3.3").document)
    document["schema"][0]["properties"].append({"name": "tax", "logicalType": "integer", "required": True})
    assert code(history.when(RegisterContract(name="revenue-kpi", version="v3.3", document=document))) == "incompatible-schema"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"type": "colour"}', "is not a JSON Schema"),
        ('{"$schema": "http://json-schema.org/draft-03/schema#"}', "dialect"),
        ('{"not":' * 70 + "{}" + "}" * 70, "nests deeper"),
        ('{"const": NaN}', "is not JSON"),
    ],
)
def test_a_text_that_is_no_schema_is_refused(text: str, says: str) -> None:
    events = History().when(RegisterSchema(subject="orders-value", schema_text=text))
    assert code(events) == "invalid-schema"
    assert isinstance(events[0], CommandRefused)
    assert says in events[0].detail


def test_a_schema_that_narrows_its_subject_is_refused() -> None:
    history = History()
    history.when(schema("orders-value", id={"type": ["integer", "string"]}))
    assert code(history.when(schema("orders-value", id={"type": "integer"}))) == "incompatible-schema"


def test_a_contract_too_large_for_a_record_is_refused() -> None:
    assert code(History().when(contract(tags=["x" * 300_000]))) == "payload-too-large"


def test_a_contract_brings_one_schema_an_object() -> None:
    registered, schema_of_it = History().when(contract())
    assert isinstance(registered, ContractRegistered)
    assert isinstance(schema_of_it, SchemaRegistered)
    assert registered.subjects == {"revenue_kpi": "acme.revenue-kpi-revenue_kpi"}
    assert json.loads(schema_of_it.schema_text) == registered.schemas["revenue_kpi"]
    assert (schema_of_it.schema_version, schema_of_it.schema_id) == (1, 1)


def test_two_objects_of_one_contract_get_two_ids() -> None:
    document = copy.deepcopy(contract().document)
    document["schema"].append({**document["schema"][0], "name": "revenue_copy", "quality": []})
    events = History().when(RegisterContract(name="revenue-kpi", version="v3.2", document=document))
    assert [event.schema_id for event in events if isinstance(event, SchemaRegistered)] == [1, 2]


def test_the_same_contract_again_changes_nothing_and_says_so() -> None:
    history = History()
    history.when(contract())
    state = history.state
    events = history.when(contract(), by="user:other")
    assert isinstance(events[0], CommandDuplicated)
    assert events[0].reason == "same-content"
    assert history.state == state


def test_an_optional_column_more_is_the_next_version_of_the_subject() -> None:
    history = History()
    history.when(contract())
    document = copy.deepcopy(contract(version="v3.3").document)
    document["schema"][0]["properties"].append({"name": "note", "logicalType": "string"})
    events = history.when(RegisterContract(name="revenue-kpi", version="v3.3", document=document))
    assert isinstance(events[1], SchemaRegistered)
    assert (events[1].schema_version, events[1].schema_id) == (2, 2)


def test_one_content_has_one_id_under_every_subject() -> None:
    history = History()
    first = history.when(schema("a-value", id={"type": "integer"}))[0]
    other = history.when(schema("b-value", id={"type": "integer"}))[0]
    assert isinstance(first, SchemaRegistered)
    assert isinstance(other, SchemaRegistered)
    assert (first.schema_id, other.schema_id, other.schema_version) == (1, 1, 1)


def test_another_tenant_has_its_own_registry() -> None:
    history = History()
    history.when(contract())
    events = history.when(contract(domain="finance"), tenant="globex")
    assert isinstance(events[0], ContractRegistered)
    assert isinstance(events[1], SchemaRegistered)
    assert events[1].schema_id == 1
    assert events[1].subject == "globex.revenue-kpi-revenue_kpi"
