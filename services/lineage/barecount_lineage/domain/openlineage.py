"""OpenLineage 2-0-2 as values: the event, and each facet in the version that this release writes.

Sources: OpenLineage spec/OpenLineage.json and spec/facets. A facet is a key in its holder's map; versions are MODEL-REVISION-ADDITION.
Absent values are left out: the schemas refuse null.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

PRODUCER: Final = "https://barecount.io/lineage"
EVENT_SCHEMA: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"

_SPEC: Final = "https://openlineage.io/spec/facets"
FACETS: Final[Mapping[str, str]] = {
    "nominalTime": f"{_SPEC}/1-0-1/NominalTimeRunFacet.json#/$defs/NominalTimeRunFacet",
    "parent": f"{_SPEC}/1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet",
    "errorMessage": f"{_SPEC}/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
    "processing_engine": f"{_SPEC}/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet",
    "jobType": f"{_SPEC}/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
    "ownership": f"{_SPEC}/1-0-1/OwnershipJobFacet.json#/$defs/OwnershipJobFacet",
    "documentation": f"{_SPEC}/1-1-0/DocumentationJobFacet.json#/$defs/DocumentationJobFacet",
    "schema": f"{_SPEC}/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
    "columnLineage": f"{_SPEC}/1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet",
    "version": f"{_SPEC}/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    "datasetType": f"{_SPEC}/1-0-1/DatasetTypeDatasetFacet.json#/$defs/DatasetTypeDatasetFacet",
    "symlinks": f"{_SPEC}/1-0-1/SymlinksDatasetFacet.json#/$defs/SymlinksDatasetFacet",
    "inputStatistics": f"{_SPEC}/1-0-0/InputStatisticsInputDatasetFacet.json#/$defs/InputStatisticsInputDatasetFacet",
    "outputStatistics": f"{_SPEC}/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet",
    # our own, where the standard has no place; consumers keep unknown facets as they are
    "barecount_run": f"{PRODUCER}/facets/1-0-0/RunFacet.json#/$defs/RunFacet",
    "barecount_contract": f"{PRODUCER}/facets/1-0-0/ContractDatasetFacet.json#/$defs/ContractDatasetFacet",
    "barecount_file": f"{PRODUCER}/facets/1-0-0/FileDatasetFacet.json#/$defs/FileDatasetFacet",
    "barecount_publication": f"{PRODUCER}/facets/1-0-0/PublicationDatasetFacet.json#/$defs/PublicationDatasetFacet",
}


def facet(key: str, **values: Any) -> dict[str, Any]:
    """A facet's value; None values are absent."""
    return {"_producer": PRODUCER, "_schemaURL": FACETS[key], **present(values)}


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def timestamp(at: datetime) -> str:
    """date-time with offset, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def dataset(namespace: str, name: str, facets: Mapping[str, Any], **held: Mapping[str, Any]) -> dict[str, Any]:
    """A dataset as an event names it; `held` are `inputFacets` or `outputFacets`, left out when empty."""
    return {"namespace": namespace, "name": name, "facets": dict(facets), **{key: dict(value) for key, value in held.items() if value}}


def run_event(
    *,
    event_type: str,
    at: datetime,
    run: UUID,
    run_facets: Mapping[str, Any],
    namespace: str,
    job: str,
    job_facets: Mapping[str, Any],
    inputs: list[dict[str, Any]],
    outputs: list[dict[str, Any]],
) -> dict[str, Any]:
    """A RunEvent, whole."""
    return {
        "eventType": event_type,
        "eventTime": timestamp(at),
        "producer": PRODUCER,
        "schemaURL": EVENT_SCHEMA,
        "run": {"runId": str(run), "facets": dict(run_facets)},
        "job": {"namespace": namespace, "name": job, "facets": dict(job_facets)},
        "inputs": inputs,
        "outputs": outputs,
    }
