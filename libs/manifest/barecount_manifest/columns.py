"""The columns that a contract describes: DuckDB types for reading, JSON Schema for the registry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SCALARS = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DECIMAL(38,9)",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "boolean": "BOOLEAN",
}
_PHYSICAL = {
    "string": r"VARCHAR(\(\d+\))?|TEXT|STRING|CHAR(\(\d+\))?",
    "integer": r"BIGINT|INTEGER|INT|SMALLINT|TINYINT|INT64|INT32|LONG",
    "number": r"DECIMAL\(\d+,\s*\d+\)|NUMERIC\(\d+,\s*\d+\)|DOUBLE|FLOAT",
    "date": r"DATE",
    "timestamp": r"TIMESTAMP|TIMESTAMP_NTZ|DATETIME",
    "boolean": r"BOOLEAN|BOOL",
}
LOCAL_FORMATS = {"date": ("yyyy-MM-dd",), "timestamp": ("yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd'T'HH:mm:ss")}


@dataclass(frozen=True, slots=True)
class Field:
    """One column: `type` is DuckDB's, like DECIMAL(12,2); `options` are ODCS's logicalTypeOptions."""

    name: str
    logical_type: str
    type: str
    required: bool
    unique: bool
    primary_key: bool
    partitioned: bool
    options: Mapping[str, Any]
    allowed: tuple[Any, ...]

    @property
    def decimal(self) -> tuple[int, int] | None:
        """(precision, scale) of a DECIMAL column, else None."""
        found = re.match(r"^DECIMAL\((\d+),(\d+)\)$", self.type)
        return (int(found[1]), int(found[2])) if found else None

    @classmethod
    def of(cls, part: Mapping[str, Any]) -> Field:
        """The column of an ODCS property. Raises ValueError when its types do not fit a column of a table."""
        logical = part.get("logicalType")
        if logical not in _SCALARS:
            raise ValueError(f"logicalType '{logical}' is not one of {', '.join(_SCALARS)}")
        return cls(
            name=part["name"],
            logical_type=logical,
            type=_duckdb_type(logical, part.get("physicalType")),
            required=bool(part.get("required") or part.get("primaryKey")),
            unique=bool(part.get("unique")),
            primary_key=bool(part.get("primaryKey")),
            partitioned=bool(part.get("partitioned")),
            options=dict(part.get("logicalTypeOptions") or {}),
            allowed=tuple(item["value"] for item in part.get("enum") or ()),
        )


def contract_object(contract: Mapping[str, Any], object_name: str | None = None) -> Mapping[str, Any]:
    """The schema object of that name, or the only one. Raises KeyError with the names that exist."""
    objects: dict[str, Mapping[str, Any]] = {item["name"]: item for item in contract.get("schema") or ()}
    if object_name is None and len(objects) == 1:
        return next(iter(objects.values()))
    if object_name is None or object_name not in objects:
        raise KeyError(f"contract {contract.get('name')} has no object {object_name!r}; it has {', '.join(objects) or 'none'}")
    return objects[object_name]


def fields_of(contract: Mapping[str, Any], object_name: str | None = None) -> tuple[Field, ...]:
    """The columns of a contract's object, in order."""
    return tuple(Field.of(part) for part in contract_object(contract, object_name)["properties"])


def json_schema_of(contract: Mapping[str, Any], object_name: str | None = None) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one row as JSON.

    Exact decimals are strings ("10928.00"), so that no reader turns money into a float; dates and timestamps are ISO 8601 text,
    timestamps local without offset. The model is closed: that makes adding an optional column backward compatible.
    """
    fields = fields_of(contract, object_name)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{contract['name']}.{contract_object(contract, object_name)['name']}",
        "description": f"One row under contract {contract['name']} {contract['version']}",
        "type": "object",
        "properties": {field.name: _row_schema(field) for field in fields},
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }


def _row_schema(field: Field) -> dict[str, Any]:
    schema: dict[str, Any]
    options = field.options
    match field.logical_type:
        case "string":
            schema = {"type": "string", **{k: options[k] for k in ("minLength", "maxLength", "pattern", "format") if k in options}}
        case "integer" | "number" if field.decimal is None:
            kinds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
            schema = {"type": field.logical_type, **{k: options[k] for k in kinds if k in options}}
        case "integer" | "number":
            precision, scale = field.decimal or (0, 0)
            whole = max(precision - scale - 1, 0)
            fraction = rf"(\.\d{{1,{scale}}})?" if scale else ""
            schema = {"type": "string", "pattern": rf"^-?(0|[1-9]\d{{0,{whole}}}){fraction}$", "x-type": field.type}
        case "date":
            schema = {"type": "string", "format": "date"}
        case "timestamp":
            schema = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?$"}
        case _:
            schema = {"type": "boolean"}
    if field.allowed:
        schema["enum"] = [*field.allowed, *([] if field.required else [None])]
    if not field.required:
        schema["type"] = [schema["type"], "null"]
    return schema


def _duckdb_type(logical: str, physical: str | None) -> str:
    if physical is None:
        return _SCALARS[logical]
    name = physical.upper().replace(" ", "")
    if not re.fullmatch(_PHYSICAL[logical], name):
        raise ValueError(f"physicalType '{physical}' does not fit logicalType '{logical}'")
    if logical == "number" and "(" in name:
        precision, scale = (int(part) for part in name.split("(")[1].rstrip(")").split(","))
        if not 0 <= scale <= precision <= 38 or precision == 0:
            raise ValueError(f"physicalType '{physical}': precision is 1 to 38, scale at most precision")
        return f"DECIMAL({precision},{scale})"
    if logical == "number":
        return "DOUBLE"
    return {"INTEGER": "INTEGER", "INT": "INTEGER", "INT32": "INTEGER", "SMALLINT": "SMALLINT"}.get(name, _SCALARS[logical])
