"""What a manifest says about data: files in, tables out, and which column comes from which. Computed once a manifest and its contracts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from barecount_contracts import Bodies
from barecount_manifest import ColumnLineage, Field, ManifestError, column_lineage, fields_of, parse
from sqlglot.errors import SqlglotError


@dataclass(frozen=True, slots=True)
class Contracted:
    """The contract that a dataset keeps, with the columns it promises."""

    name: str
    version: str
    digest: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class SourceDesign:
    name: str
    path: str
    control: str | None
    contract: Contracted | None


@dataclass(frozen=True, slots=True)
class SinkDesign:
    name: str
    path: str
    contract: Contracted | None
    columns: ColumnLineage | None


@dataclass(frozen=True, slots=True)
class Design:
    """A manifest as lineage sees it. `column` is the tables' partition column; `problem` says why a part is missing."""

    owner: str
    description: str
    column: str
    timezone: str
    sources: tuple[SourceDesign, ...] = ()
    sinks: tuple[SinkDesign, ...] = ()
    problem: str | None = None

    def nominal(self, data_partition: str) -> tuple[datetime, datetime] | None:
        """The day of a data partition, half-open, in the manifest's time zone (23 to 25 hours); None when the key is no day."""
        try:
            day, zone = date.fromisoformat(data_partition), ZoneInfo(self.timezone)
        except (ValueError, OSError):
            return None
        return datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=1), time(), zone)


def design_of(bodies: Bodies) -> Design:
    """Never raises: what this release cannot read leaves a hole with its reason, and the run's lineage goes on without it."""
    return _design(json.dumps(bodies.model_dump(mode="json"), sort_keys=True))


@lru_cache(maxsize=128)
def _design(text: str) -> Design:
    bodies = Bodies.model_validate_json(text)
    try:
        manifest = parse(bodies.manifest)
    except ManifestError as error:
        return Design(owner="", description="", column="partition", timezone="UTC", problem=f"the manifest cannot be read: {error}")
    contracts = {(body.name, body.version): body for body in bodies.contracts}
    problem: str | None = None

    def contracted(name: str, version: str) -> Contracted | None:
        body = contracts.get((name, version))
        return None if body is None else Contracted(name, version, body.digest, _fields(body.document))

    sources = tuple(
        SourceDesign(item.name, item.path, item.control, contracted(item.contract.name, item.contract.version)) for item in manifest.sources
    )
    lineage: dict[str, ColumnLineage] = {}
    try:
        schemas = {item.name: {f.name: f.type for f in item.contract.fields} for item in sources if item.contract is not None}
        lineage = column_lineage(manifest, schemas)
    except (KeyError, SqlglotError, ValueError) as error:
        problem = f"columns cannot be followed: {error}"
    sinks = tuple(
        SinkDesign(item.name, item.path, contracted(item.contract.name, item.contract.version), lineage.get(item.name))
        for item in manifest.sinks
    )
    partitioning = manifest.partitioning
    return Design(manifest.owner, manifest.description, partitioning.column, partitioning.timezone, sources, sinks, problem)


def _fields(document: dict[str, Any]) -> tuple[Field, ...]:
    try:
        return fields_of(document)
    except (KeyError, ValueError, TypeError, StopIteration):
        return ()
