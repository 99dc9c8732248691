"""The rules that a contract holds: for every row, and for the table as a whole, as SQL that the worker runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlglot import exp

from .columns import Field, contract_object, fields_of


@dataclass(frozen=True, slots=True)
class RowRule:
    """`sql` is a condition over one row; a row for which it is not true breaks the rule."""

    name: str
    column: str
    sql: str


@dataclass(frozen=True, slots=True)
class TableRule:
    """`sql` gives one number for the whole table, which must meet `expected`, like {"must_be": Decimal(0)} (see `holds`)."""

    name: str
    sql: str
    expected: Mapping[str, Any]
    severity: str


@dataclass(frozen=True, slots=True)
class Checks:
    """What a contract asks of data; `told` are rules in words (type text), which nothing can run."""

    rows: tuple[RowRule, ...]
    table: tuple[TableRule, ...]
    told: tuple[str, ...]


def checks_of(contract: Mapping[str, Any], object_name: str | None = None, table: str | None = None) -> Checks:
    """The rules of a contract's object; `table` is the name under which SQL finds the data (default: the object's name)."""
    item = contract_object(contract, object_name)
    table = table or item["name"]
    rows: list[RowRule] = []
    whole: list[TableRule] = []
    told: list[str] = []
    fields = fields_of(contract, object_name)
    for field, part in zip(fields, item["properties"], strict=True):
        rows += _row_rules(field)
        if field.unique:
            whole.append(TableRule(f"{field.name}-unique", _duplicates(table, [field.name]), {"must_be": Decimal(0)}, "error"))
        _sort(part.get("quality") or [], table, field.name, whole, told)
    if key := [field.name for field in fields if field.primary_key]:
        whole.append(TableRule("primary-key", _duplicates(table, key), {"must_be": Decimal(0)}, "error"))
    _sort(item.get("quality") or [], table, None, whole, told)
    return Checks(tuple(rows), tuple(whole), tuple(told))


def resolve(query: str, table: str, column: str | None) -> str:
    """ODCS's placeholders filled: ${table}, {object}, ${column}, {property}."""
    query = re.sub(r"\$?\{(table|object|model|schema)\}", lambda _: _identifier(table), query)
    return re.sub(r"\$?\{(column|property|field)\}", lambda _: _identifier(column or ""), query)


def _row_rules(field: Field) -> Iterator[RowRule]:
    name, column = field.name, _identifier(field.name)
    if field.required:
        yield RowRule(f"{name}-required", name, f"{column} IS NOT NULL")

    def rule(kind: str, condition: str) -> RowRule:
        return RowRule(f"{name}-{kind}", name, f"({column} IS NULL OR {condition})")

    options = field.options
    comparisons = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
    for option, operator in comparisons.items():
        if option in options:
            yield rule(option, f"{column} {operator} {_literal(options[option], field)}")
    if "multipleOf" in options:
        yield rule("multipleOf", f"{column} % {_literal(options['multipleOf'], field)} = 0")
    if "minLength" in options:
        yield rule("minLength", f"length({column}) >= {int(options['minLength'])}")
    if "maxLength" in options:
        yield rule("maxLength", f"length({column}) <= {int(options['maxLength'])}")
    if "pattern" in options:
        yield rule("pattern", f"regexp_matches({column}, {_text(options['pattern'])})")
    if field.allowed:
        yield rule("enum", f"{column} IN ({', '.join(_literal(value, field) for value in field.allowed)})")


def _sort(quality: list[dict[str, Any]], table: str, column: str | None, whole: list[TableRule], told: list[str]) -> None:
    for index, rule in enumerate(quality):
        kind = rule.get("type", "library")
        name = rule.get("name") or f"{column or table}-{rule.get('metric', kind)}-{index}"
        if kind == "text":
            told.append(rule.get("description") or name)
        elif kind == "sql":
            whole.append(TableRule(name, resolve(rule["query"], table, column), _expected(rule), _severity(rule)))
        else:
            whole.append(TableRule(name, _metric(rule, table, column), _expected(rule), _severity(rule)))


def _metric(rule: Mapping[str, Any], table: str, column: str | None) -> str:
    """The standard's library metrics: a count of rows, or their percentage of all rows with unit percent."""
    arguments = rule.get("arguments") or {}
    if rule["metric"] == "rowCount":
        return f"SELECT count(*) FROM {_identifier(table)}"
    if rule["metric"] == "duplicateValues":
        query = _duplicates(table, list(arguments.get("properties") or ([column] if column else [])))
    else:
        query = f"SELECT count(*) FROM {_identifier(table)} WHERE {_bad(rule['metric'], arguments, _identifier(column or ''))}"
    if rule.get("unit") == "percent":
        return f"SELECT 100 * ({query}) / greatest(1, (SELECT count(*) FROM {_identifier(table)}))"
    return query


def _bad(metric: str, arguments: Mapping[str, Any], column: str) -> str:
    if metric == "nullValues":
        return f"{column} IS NULL"
    if metric == "missingValues":
        values = [value for value in arguments.get("missingValues") or () if value is not None]
        listed = ", ".join(_text(value) for value in values)
        return f"{column} IS NULL" + (f" OR CAST({column} AS VARCHAR) IN ({listed})" if listed else "")
    conditions = []
    if valid := arguments.get("validValues"):
        conditions.append(f"CAST({column} AS VARCHAR) NOT IN ({', '.join(_text(value) for value in valid)})")
    if pattern := arguments.get("pattern"):
        conditions.append(f"NOT regexp_matches(CAST({column} AS VARCHAR), {_text(pattern)})")
    return f"{column} IS NOT NULL AND ({' OR '.join(conditions) or 'false'})"


def _duplicates(table: str, columns: list[str]) -> str:
    """Rows beyond the first of their key."""
    listed = ", ".join(_identifier(column) for column in columns)
    return f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM {_identifier(table)} GROUP BY {listed}) AS keys"


def _expected(rule: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in rule.items():
        if key.startswith("must"):
            exact = tuple(_number(item) for item in value) if isinstance(value, list) else _number(value)
            found[re.sub(r"(?<!^)([A-Z])", lambda m: "_" + m[1].lower(), key)] = exact
    return found


def _number(value: Any) -> Decimal:
    return Decimal(str(value))


def _severity(rule: Mapping[str, Any]) -> str:
    return "warning" if rule.get("severity") in {"info", "warning"} else "error"


def _literal(value: Any, field: Field) -> str:
    return f"CAST({_text(value)} AS {field.type})"


def _text(value: Any) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql("duckdb")
