"""Data contracts: Open Data Contract Standard (ODCS) 3.1 and 3.2 documents, judged by the standard's own JSON Schema.

The pydantic model of the wheel `open-data-contract-standard` takes documents that the standard forbids (no id, two operators), so
only its `schema.json` is used. That schema is of 3.2: what 3.1 says otherwise is added here, and what this product needs on top.
Reading a contract's columns and rules is in `columns.py` and `rules.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft201909Validator
from jsonschema.exceptions import ValidationError

from .columns import LOCAL_FORMATS, Field, contract_object, fields_of, json_schema_of
from .errors import Problem, pointer
from .rules import Checks, RowRule, TableRule, checks_of, resolve
from .sql import check_sql

__all__ = [
    "Checks", "Field", "RowRule", "TableRule", "checks_of", "contract_object", "fields_of", "json_schema_of", "validate_contract",
]  # fmt: skip

_VERSION = re.compile(r"^v(0|[1-9]\d*)(\.(0|[1-9]\d*)){0,2}$")
_ONLY_3_2 = {"context", "synonyms", "deprecated", "enum", "semanticType"}
_NOT_RE2 = re.compile(r"\(\?(?:=|!|<=|<!)|\\[1-9]")


def validate_contract(contract: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Every reason why a document is not a contract that this product can keep; empty when it is."""
    document = dict(contract)
    problems = [_problem(error) for error in _validator().iter_errors(document)]
    if not problems:
        problems = list(_house_rules(document))
    return tuple(sorted(set(problems)))


@cache
def _validator() -> Draft201909Validator:
    schema = json.loads(resources.files("open_data_contract_standard").joinpath("schema.json").read_text("utf-8"))
    return Draft201909Validator(schema)


def _problem(error: ValidationError) -> Problem:
    message = error.message if len(error.message) < 300 else error.message[:297] + "…"
    hint = "see the Open Data Contract Standard, bitol-io.github.io/open-data-contract-standard"
    if error.validator == "oneOf" and "mustBe" in json.dumps(error.schema):
        message, hint = "needs exactly one of the mustBe… operators", "give one operator, like mustBe: 0"
    elif error.validator == "required":
        hint = "add the field"
    return Problem(pointer(*error.absolute_path), message, hint)


def _house_rules(contract: dict[str, Any]) -> Iterator[Problem]:
    version = contract["apiVersion"]
    if version not in {"v3.1.0", "v3.2.0"}:
        yield Problem("/apiVersion", f"'{version}' is not supported", "use v3.1.0 or v3.2.0")
        return
    if contract.get("kind") != "DataContract":
        yield Problem("/kind", "must be DataContract", "write kind: DataContract")
    if "status" not in contract:
        yield Problem("/status", "is missing (required by ODCS 3.1)", "add status: active")
    if not isinstance(contract.get("name"), str):
        yield Problem("/name", "is missing: manifests name contracts by it", "add name, like revenue-kpi")
    if not _VERSION.match(str(contract["version"])):
        yield Problem("/version", f"'{contract['version']}' is not a version like v3.2", "write v<major>.<minor>")
    if not contract.get("schema"):
        yield Problem("/schema", "has no object: there is nothing to check", "describe the rows under schema")
    for index, item in enumerate(contract.get("schema") or []):
        yield from _object(item, ("schema", index), version)


def _object(item: dict[str, Any], at: tuple[str | int, ...], version: str) -> Iterator[Problem]:
    if not item.get("properties"):
        yield Problem(pointer(*at, "properties"), "has no properties", "name every column")
    if version == "v3.1.0":
        for key in sorted(_ONLY_3_2 & item.keys()):
            yield Problem(pointer(*at, key), f"'{key}' came with ODCS 3.2", "declare apiVersion v3.2.0, or drop it")
    seen: set[str] = set()
    for index, part in enumerate(item.get("properties") or []):
        here = (*at, "properties", index)
        name = part.get("name", "")
        if name in seen:
            yield Problem(pointer(*here, "name"), f"'{name}' stands twice", "name each column once")
        seen.add(name)
        yield from _property(part, here, version)
        yield from _quality(part.get("quality") or [], here, item["name"], name)
    yield from _quality(item.get("quality") or [], at, item["name"], None)


def _property(part: dict[str, Any], at: tuple[str | int, ...], version: str) -> Iterator[Problem]:
    if not re.match(r"^[a-z][a-z0-9_]*$", part.get("name", "")):
        yield Problem(pointer(*at, "name"), f"'{part.get('name')}' is not a column name", "lower case letters, digits and _")
    if version == "v3.1.0":
        for key in sorted(_ONLY_3_2 & part.keys()):
            yield Problem(pointer(*at, key), f"'{key}' came with ODCS 3.2", "use a quality rule invalidValues, or apiVersion v3.2.0")
    try:
        Field.of(part)
    except ValueError as error:
        yield Problem(pointer(*at), str(error), "use a scalar logicalType, and DECIMAL(p,s) as physicalType of money")
        return
    options = part.get("logicalTypeOptions") or {}
    if part["logicalType"] in LOCAL_FORMATS and options.get("format") not in {None, *LOCAL_FORMATS[part["logicalType"]]}:
        known = " or ".join(LOCAL_FORMATS[part["logicalType"]])
        yield Problem(pointer(*at, "logicalTypeOptions", "format"), f"'{options['format']}' is not supported", f"use {known}")
    if part["logicalType"] == "timestamp" and options.get("timezone"):
        yield Problem(
            pointer(*at, "logicalTypeOptions", "timezone"), "offsets are not supported yet", "deliver local time, timezone: false"
        )
    if _NOT_RE2.search(str(options.get("pattern", ""))):
        yield Problem(pointer(*at, "logicalTypeOptions", "pattern"), "uses lookaround or backreference", "write it without (RE2 syntax)")


def _quality(rules: list[dict[str, Any]], at: tuple[str | int, ...], table: str, column: str | None) -> Iterator[Problem]:
    for index, rule in enumerate(rules):
        here = (*at, "quality", index)
        kind = rule.get("type", "library")
        if kind == "library" and "metric" not in rule:
            yield Problem(pointer(*here), "has no metric, so nothing is checked", "name a metric, or type: text")
        if kind == "sql":
            yield from check_sql(resolve(rule["query"], table, column), pointer(*here, "query"), {table})
        if kind == "custom":
            yield Problem(pointer(*here), f"needs the engine '{rule.get('engine')}', which is not here", "use library or sql")
