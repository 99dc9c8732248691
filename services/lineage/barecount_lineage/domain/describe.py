"""A run's start or end as an OpenLineage RunEvent.

START names what the plan will read and write; an end names what was read (with digests) and what was published (with Delta versions). What
was planned and not published is in no end: nothing says that it exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from barecount_contracts import Publication
from barecount_manifest import ColumnLineage, InputColumn

from .design import Contracted, Design, SinkDesign, SourceDesign
from .follow import Emission, End, Following, Read
from .names import DATASETS, job_namespace, landing_name, partition_name, run_uuid, table_name
from .openlineage import dataset, facet, run_event, timestamp


def describe(emission: Emission, at: datetime) -> dict[str, Any]:
    """The event; `at` is the broker's time of the run event that it follows."""
    run, plan = emission.run, emission.run.plan
    return run_event(
        event_type=emission.event_type,
        at=at,
        run=run_uuid(run.tenant, run.run_id),
        run_facets=_run_facets(run, emission.end),
        namespace=job_namespace(run.tenant, plan.environment),
        job=plan.pipeline,
        job_facets=_job_facets(run.design),
        inputs=list(_inputs(run, ended=emission.end is not None)),
        outputs=list(_outputs(run) if emission.end is None else _published(run)),
    )


def _run_facets(run: Following, end: End | None) -> dict[str, Any]:
    plan, design = run.plan, run.design
    facets: dict[str, Any] = {
        "barecount_run": facet(
            "barecount_run",
            runId=run.run_id,
            tenant=run.tenant,
            environment=plan.environment,
            manifestVersion=plan.manifest_version,
            manifestDigest=plan.manifest_digest,
            contract={"name": plan.contract.name, "version": plan.contract.version},
            planDigest=run.plan_digest,
            mode=plan.mode,
            dataPartitions=list(plan.data_partitions),
            rerunOf=plan.rerun_of,
            rootRun=plan.root_run,
            correlation=str(run.correlation),
            incomplete=design.problem,
            reason=None if end is None else end.reason,
            reconciled=None if end is None else end.totals.reconciled,
        )
    }
    days = [day for day in map(design.nominal, plan.data_partitions) if day is not None]
    if days:
        first, last = min(days)[0], max(days)[1]
        facets["nominalTime"] = facet("nominalTime", nominalStartTime=timestamp(first), nominalEndTime=timestamp(last))
    if plan.rerun_of is not None:
        job = {"namespace": job_namespace(run.tenant, plan.environment), "name": plan.pipeline}
        root = run_uuid(run.tenant, plan.root_run or plan.rerun_of)
        parent = run_uuid(run.tenant, plan.rerun_of)
        facets["parent"] = facet("parent", run={"runId": str(parent)}, job=job, root={"run": {"runId": str(root)}, "job": job})
    if run.worker_versions:
        version = ", ".join(sorted(run.worker_versions))
        facets["processing_engine"] = facet("processing_engine", name="barecount-worker (DuckDB, Delta Lake)", version=version)
    if end is not None and end.error is not None:
        facets["errorMessage"] = facet("errorMessage", message=end.error, programmingLanguage="SQL")
    return facets


def _job_facets(design: Design) -> dict[str, Any]:
    facets = {"jobType": facet("jobType", processingType="BATCH", integration="BARECOUNT", jobType="PIPELINE")}
    if design.owner:
        facets["ownership"] = facet("ownership", owners=[{"name": f"team:{design.owner}", "type": "MAINTAINER"}])
    if design.description:
        facets["documentation"] = facet("documentation", description=design.description)
    return facets


def _inputs(run: Following, *, ended: bool) -> Iterator[dict[str, Any]]:
    """Planned files until the end says what was read; at the end what was read, whether it was planned or not."""
    reads = dict(run.reads)
    for source in run.design.sources:
        for key in run.plan.data_partitions:
            name = landing_name(run.tenant, source.path, key)
            read = reads.pop(name, None)
            if read is not None or not ended:
                yield _file(name, source, read)
            if source.control is None:
                continue
            control = landing_name(run.tenant, source.control, key)
            read = reads.pop(control, None)
            if read is not None or not ended:
                yield _file(control, None, read)
    for name in sorted(reads):
        yield _file(name, None, reads[name])


def _file(name: str, source: SourceDesign | None, read: Read | None) -> dict[str, Any]:
    facets: dict[str, Any] = {"datasetType": facet("datasetType", datasetType="FILE")}
    if source is not None and source.contract is not None:
        facets |= _contract(source.contract)
    statistics = {}
    if read is not None:
        facets["version"] = facet("version", datasetVersion=read.file.digest)
        facets["barecount_file"] = facet("barecount_file", digest=read.file.digest, bytes=read.file.bytes)
        counted = read.records if source is not None else None
        statistics["inputStatistics"] = facet("inputStatistics", rowCount=counted, size=read.file.bytes, fileCount=1)
    return dataset(DATASETS, name, facets, inputFacets=statistics)


def _outputs(run: Following) -> Iterator[dict[str, Any]]:
    """What the plan would publish."""
    for sink in run.design.sinks:
        table = table_name(run.tenant, run.plan.environment, sink.path)
        for key in run.plan.data_partitions:
            yield _partition(run, table, key, sink, None)


def _published(run: Following) -> Iterator[dict[str, Any]]:
    for (told, key), publication in sorted(run.published.items()):
        table, sink = _table_of(run, told)
        yield _partition(run, table, key, sink, publication)


def _table_of(run: Following, told: str) -> tuple[str, SinkDesign | None]:
    """A published table's name in lineage, and its sink. Workers name it by the sink's path or from the lake's root."""
    for sink in run.design.sinks:
        table = table_name(run.tenant, run.plan.environment, sink.path)
        if told in (table, sink.path):
            return table, sink
    home = table_name(run.tenant, run.plan.environment, "")
    return (told if told.startswith(home) else home + told), None


def _partition(run: Following, table: str, key: str, sink: SinkDesign | None, publication: Publication | None) -> dict[str, Any]:
    symlink = {"namespace": DATASETS, "name": table, "type": "TABLE"}
    facets: dict[str, Any] = {
        "datasetType": facet("datasetType", datasetType="TABLE", subType="DELTA"),
        "symlinks": facet("symlinks", identifiers=[symlink]),
    }
    if sink is not None and sink.contract is not None:
        facets |= _contract(sink.contract)
    if sink is not None and sink.columns is not None:
        facets["columnLineage"] = _columns(run, key, sink.columns)
    statistics = {}
    if publication is not None:
        facets["version"] = facet("version", datasetVersion=str(publication.delta_version))
        facets["barecount_publication"] = facet(
            "barecount_publication",
            deltaVersion=publication.delta_version,
            ticket=publication.ticket,
            filesDigest=publication.files_digest,
            already=publication.already,
        )
        statistics["outputStatistics"] = facet("outputStatistics", rowCount=publication.records)
    return dataset(DATASETS, partition_name(table, run.design.column, key), facets, outputFacets=statistics)


def _contract(contract: Contracted) -> dict[str, Any]:
    facets: dict[str, Any] = {
        "barecount_contract": facet("barecount_contract", name=contract.name, version=contract.version, digest=contract.digest)
    }
    if contract.fields:
        fields = [{"name": item.name, "type": item.type, "ordinal_position": place} for place, item in enumerate(contract.fields, start=1)]
        facets["schema"] = facet("schema", fields=fields)
    return facets


def _columns(run: Following, key: str, lineage: ColumnLineage) -> dict[str, Any]:
    """Columns point at the landing file of the same data partition."""
    files = {source.name: landing_name(run.tenant, source.path, key) for source in run.design.sources}
    fields = {name: {"inputFields": _fields(found, files)} for name, found in lineage.columns.items()}
    return facet("columnLineage", fields=fields, dataset=_fields(lineage.dataset, files) or None)


def _fields(found: tuple[InputColumn, ...], files: Mapping[str, str]) -> list[dict[str, Any]]:
    """One entry an input column, with everything that it does to the output."""
    by_column: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in found:
        name = files.get(item.source, str(PurePosixPath(item.source)))
        action = {"type": item.transformation, "subtype": item.subtype, "description": "", "masking": False}
        by_column.setdefault((name, item.column), []).append(action)
    return [
        {"namespace": DATASETS, "name": name, "field": column, "transformations": actions}
        for (name, column), actions in sorted(by_column.items())
    ]
