"""Data contracts: refused by the standard's own schema, turned into types, JSON Schema and rules."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from barecount_local import sample
from barecount_manifest import checks_of, fields_of, holds, json_schema_of, load, validate_contract
from jsonschema import Draft202012Validator


@pytest.fixture
def contract() -> dict[str, Any]:
    return load(sample.document("retail-transactions.odcs.yaml"))


def paths(contract: dict[str, Any]) -> set[str]:
    return {problem.path for problem in validate_contract(contract)}


def prop(contract: dict[str, Any], name: str) -> dict[str, Any]:
    return next(part for part in contract["schema"][0]["properties"] if part["name"] == name)


@pytest.mark.parametrize("field", ["id", "status", "version", "apiVersion", "kind", "name", "schema"])
def test_a_contract_without_what_identifies_it_is_refused(contract: dict[str, Any], field: str) -> None:
    del contract[field]
    assert validate_contract(contract)


@pytest.mark.parametrize(
    ("field", "value"), [("apiVersion", "v9"), ("apiVersion", "v3.0.2"), ("version", "latest"), ("kind", "Data"), ("surprise", 1)]
)
def test_a_contract_of_another_kind_is_refused(contract: dict[str, Any], field: str, value: Any) -> None:
    assert validate_contract(contract | {field: value})


@pytest.mark.parametrize(
    "rule",
    [
        {"metric": "rowCount", "mustBe": 1, "mustNotBe": 2},
        {"metric": "rowCount"},
        {"metric": "unheardOf", "mustBe": 1},
        {"name": "only-a-name"},
        {"type": "sql", "query": "SELECT count(*) FROM {object} WHERE a < now()", "mustBe": 0},
        {"type": "sql", "query": "SELECT count(*) FROM elsewhere", "mustBe": 0},
        {"type": "custom", "engine": "soda", "implementation": "x"},
    ],
)
def test_a_quality_rule_that_cannot_be_kept_is_refused(contract: dict[str, Any], rule: dict[str, Any]) -> None:
    contract["schema"][0]["quality"] = [rule]
    assert any(path.startswith("/schema/0/quality/0") for path in paths(contract)), validate_contract(contract)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sales_value", {"physicalType": "VARCHAR"}),
        ("sales_value", {"physicalType": "DECIMAL(2,9)"}),
        ("week", {"logicalType": "array"}),
        ("transaction_timestamp", {"logicalTypeOptions": {"format": "dd.MM.yyyy"}}),
        ("week", {"enum": [{"value": 1}]}),
        ("week", {"name": "Week Number"}),
        ("week", {"name": "quantity"}),
    ],
)
def test_a_column_that_cannot_be_read_is_refused(contract: dict[str, Any], name: str, change: dict[str, Any]) -> None:
    prop(contract, name).update(change)
    assert any(path.startswith("/schema/0/properties/") for path in paths(contract)), validate_contract(contract)


@pytest.mark.parametrize("name", sample.CONTRACTS)
def test_the_samples_contracts_are_accepted(name: str) -> None:
    assert validate_contract(load(sample.document(name))) == ()


def test_a_row_as_json_carries_money_as_text(contract: dict[str, Any]) -> None:
    schema = json_schema_of(contract)
    Draft202012Validator.check_schema(schema)
    judge = Draft202012Validator(schema)
    row: dict[str, Any] = {field.name: "1.00" if field.decimal else 1 for field in fields_of(contract)}
    row["transaction_timestamp"] = "2025-10-04T00:03:16"
    assert judge.is_valid(row)
    for wrong in ({"sales_value": 4.99}, {"sales_value": "4.999"}, {"sales_value": "1e3"}, {"store_id": 0}, {"extra": 1}, {"week": 54}):
        assert not judge.is_valid(row | wrong), wrong
    assert not judge.is_valid({key: value for key, value in row.items() if key != "store_id"})


def test_an_optional_column_may_be_null_and_an_enumeration_is_kept(contract: dict[str, Any]) -> None:
    contract["apiVersion"] = "v3.2.0"
    prop(contract, "week").update(required=False, enum=[{"value": 1}, {"value": 2}])
    assert validate_contract(contract) == ()
    column = json_schema_of(contract)["properties"]["week"]
    assert column["type"] == ["integer", "null"]
    assert column["enum"] == [1, 2, None]
    assert any(rule.name == "week-enum" for rule in checks_of(contract).rows)


def test_rules_are_given_for_the_name_under_which_the_data_is_found() -> None:
    rules = checks_of(load(sample.document("revenue-kpi.odcs.yaml")), table="revenue")
    assert {rule.name for rule in rules.table} == {"primary-key", "total-equals-sum-of-stores", "has-rows"}
    assert all('"revenue"' in rule.sql for rule in rules.table)


@pytest.mark.parametrize(
    ("expected", "actual", "kept"),
    [
        ({"must_be": Decimal("0.00")}, Decimal(0), True),
        ({"must_be": Decimal(0)}, None, False),
        ({"must_be_between": (Decimal(1), Decimal(2))}, Decimal(2), True),
        ({"must_not_be_between": (Decimal(1), Decimal(2))}, Decimal(2), False),
        ({"must_be_less_than": Decimal(1)}, Decimal(1), False),
    ],
)
def test_a_rule_without_a_number_never_holds(expected: dict[str, Any], actual: Decimal | None, kept: bool) -> None:
    assert holds(expected, actual) is kept
