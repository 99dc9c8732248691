"""The field types that manifests are made of: names, paths in the lake, exact numbers."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

RESERVED_PIPELINE_NAMES: frozenset[str] = frozenset(
    {
        "replay", "backfill", "backfills", "runs", "run", "history", "versions", "diff", "promote", "overrides", "override",
        "partitions", "metrics", "logs", "slos", "dlq", "lineage", "evidence", "commands", "governance", "webhooks", "schemas",
        "subjects", "contracts", "registry", "stream", "ws", "health", "openapi", "new", "all", "latest", "platform",
    }
)  # fmt: skip
"""Names that are, or may become, a path segment beside /pipelines/{name}: `/pipelines/replay` is a route, never a pipeline."""


def _pipeline_name(value: str) -> str:
    if value in RESERVED_PIPELINE_NAMES:
        raise ValueError(f"'{value}' is a reserved name: it is, or may become, a path of the API")
    return value


def _lake_path(value: str) -> str:
    if value.startswith("/") or "\\" in value or re.match(r"^[a-z][a-z0-9+.-]*:", value):
        raise ValueError("must be relative to the tenant's lake, with forward slashes and no scheme")
    if any(part in {"", ".", ".."} or part.startswith(".") for part in value.split("/")):
        raise ValueError("must not hold empty, hidden, '.' or '..' segments")
    if re.search(r"[{}]", value.replace("{partition}", "")):
        raise ValueError("knows one placeholder, {partition}")
    if re.search(r"[*?\[\]]", value):
        raise ValueError("must name one file: no glob")
    return value


def _per_partition(value: str) -> str:
    if "{partition}" not in value:
        raise ValueError("must hold {partition}, else every data partition would read the same file")
    return value


def _no_placeholder(value: str) -> str:
    if "{partition}" in value:
        raise ValueError("a table holds all its data partitions: it has no {partition}")
    return value


def _exact(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise ValueError('must be exact: write it as a string, like "0.00", or as a whole number')
    return _decimal(value)


def _decimal(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    if isinstance(value, (int, str, float)):
        try:
            number = Decimal(repr(value) if isinstance(value, float) else value)
        except InvalidOperation:
            raise ValueError("must be a number, or a number in a string") from None
        if not number.is_finite():
            raise ValueError("must be a finite number")
        return number
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        # not found, a path out of the database, or one of its folders
        raise ValueError("is not a name of the IANA time zone database, like America/New_York") from None
    return value


PipelineName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$"), AfterValidator(_pipeline_name)]
Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Dataset = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Column = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
ContractVersion = Annotated[str, Field(pattern=r"^v(0|[1-9]\d*)(\.(0|[1-9]\d*)){0,2}$")]
LandingPath = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_lake_path), AfterValidator(_per_partition)]
TablePath = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_lake_path), AfterValidator(_no_placeholder)]
Timezone = Annotated[str, AfterValidator(_timezone)]
_as_text = PlainSerializer(lambda d: format(d, "f"), return_type=str, when_used="json")
Exact = Annotated[Decimal, BeforeValidator(_exact), _as_text]
"""Money and counts: a string or a whole number, never a float."""
Fraction = Annotated[Decimal, BeforeValidator(_decimal), Field(ge=0, le=1), _as_text]
"""A share between 0 and 1; a YAML number is read by its decimal digits."""
