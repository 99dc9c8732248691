"""The publish stage: output contract, quality, reconciliation to the cent; then one commit of the table under the ticket."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from barecount_contracts import CheckResult, Publication, PublishTicket, Reconciliation, StageMetrics
from barecount_manifest import Field, PublishStage, Sink, fields_of, tables_of

from barecount_worker.domain.failure import ErrorType, StageFailed
from barecount_worker.domain.stage import StageResult, StageTask
from barecount_worker.domain.totals import compare, exact

from . import delta
from .bench import Bench
from .cage import Cage, literal, open_cage, quoted
from .contract_checks import Checked, broken, contract_checks, quality_checks
from .landing_csv import arrow_schema
from .staging import digest_of, durable, open_control, open_input

_WIDER = {"SMALLINT": {"INTEGER", "BIGINT"}, "INTEGER": {"BIGINT"}}


def publish(bench: Bench, stage: PublishStage) -> StageResult:
    """Nothing is visible in the table unless everything holds; then all of it is, at once.

    Fails with contract-violation, quality-failed or reconciliation-failed (in that order when several do), and with fenced when a
    later attempt or a cancel has taken the right to publish away.
    """
    task, sink = bench.task, bench.task.manifest.sink(stage.sink)
    ticket = _ticket(task)
    fields = fields_of(task.contract(sink.contract))
    staged = bench.staging.file(f"{stage.sink}.table.parquet")
    inputs = {output.name: output for output in task.inputs}
    names = _needed(task, stage)
    files = {name: open_input(bench.lake, inputs, name) for name in names}
    with open_cage(list(files.values()), bench.staging.folder, bench.stop, {"partition": task.data_partition}, bench.memory) as cage:
        for name, file in files.items():
            cage.view(name, file)
        result = _judge(bench, cage, stage, sink, fields)
        records = cage.copy(_table_rows(stage.input, fields, task.manifest.partitioning.column), staged)
    if bench.stop():
        raise StageFailed(ErrorType.INTERRUPTED, bench.stop.reason, result)
    digest = digest_of(staged)
    target = target_of(bench, sink, ticket)
    placed = _place(bench, target, staged, ticket.number)
    metadata = {
        **task.facts,
        "tenant": task.tenant,
        "run_id": task.run_id,
        "attempt": str(task.attempt),
        "output_digest": inputs[stage.input].digest,
    }
    try:
        made = delta.publish(
            target,
            ticket.number,
            [delta.DataFile(placed, staged.stat().st_size, records)],
            digest,
            metadata,
            fence_number=ticket.fence,
            superseded=ticket.superseded,
        )
    except StageFailed as failure:
        failure.result = result
        raise
    bench.log(
        "info", "already-published" if made.already else "published", version=made.version, number=made.number, digest=made.files_digest
    )
    publication = publication_of(target, sink, made)
    metrics = result.metrics.model_copy(update={"records_out": made.records, "bytes_out": staged.stat().st_size})
    return StageResult(
        metrics=metrics, checks=result.checks, reconciliations=result.reconciliations, control_totals=result.control_totals,
        publication=publication,
    )  # fmt: skip


def end_publication(bench: Bench) -> StageResult:
    """Move the fence to the ticket's number without data, and tell whether one of the superseded numbers had published before."""
    task = bench.task
    stage = task.manifest.stage(task.stage)
    if stage.kind != "publish":
        raise StageFailed(ErrorType.TASK_INVALID, f"stage '{stage.name}' publishes nothing, there is nothing to fence")
    ticket, sink = _ticket(task), task.manifest.sink(stage.sink)
    target = target_of(bench, sink, ticket)
    fenced = delta.fence(target, ticket.number, {**task.facts, "run_id": task.run_id, "attempt": str(task.attempt)})
    before = fenced.before if fenced.before is not None and fenced.before.number in ticket.superseded else None
    bench.log("info", "fenced", number=ticket.number, version=fenced.version, published_before=before.number if before else None)
    return StageResult(publication=publication_of(target, sink, before) if before else None)


def target_of(bench: Bench, sink: Sink, ticket: PublishTicket) -> delta.Target:
    """The sink's table and the ticket's data partition of it."""
    task = bench.task
    fields = fields_of(task.contract(sink.contract))
    column = task.manifest.partitioning.column
    return delta.Target(bench.lake.table(sink.path), ticket.app_id, column, task.data_partition, arrow_schema(fields))


def publication_of(target: delta.Target, sink: Sink, made: delta.Published) -> Publication:
    """A publication as it is reported."""
    return Publication(
        table=sink.path,
        data_partition=target.data_partition,
        delta_version=made.version,
        ticket=made.number,
        files_digest=made.files_digest,
        records=made.records,
        already=made.already,
    )


def _ticket(task: StageTask) -> PublishTicket:
    if task.ticket is None:
        raise StageFailed(ErrorType.TASK_INVALID, "a publish stage needs a ticket; execution grants one with the task")
    wanted = f"{task.tenant}/{task.environment}/{task.manifest.name}/{task.data_partition}"
    if task.ticket.app_id != wanted:
        raise StageFailed(ErrorType.TASK_INVALID, f"the ticket is for {task.ticket.app_id}, the task is for {wanted}")
    return task.ticket


def _needed(task: StageTask, stage: PublishStage) -> list[str]:
    """The datasets that the publication, its quality rules and its reconciliation read."""
    names = {stage.input}
    for rule in task.manifest.quality:
        names |= tables_of(rule.sql)
    for control in task.manifest.reconciliation:
        names |= tables_of(control.actual_sql)
    return sorted(names)


def _judge(bench: Bench, cage: Cage, stage: PublishStage, sink: Sink, fields: tuple[Field, ...]) -> StageResult:
    task = bench.task
    named = f"'{stage.input}' breaks contract {sink.contract.name} {sink.contract.version}"
    columns = list(_columns(cage, stage.input, fields))
    if found := broken(columns):  # rules and totals over other types would only confuse
        result = StageResult(checks=tuple(one.result for one in columns))
        raise StageFailed(ErrorType.CONTRACT_VIOLATION, f"{named}: {found}", result)
    contract = [*contract_checks(cage, task.contract(sink.contract), stage.input), _one_partition(cage, stage.input, task)]
    quality = list(quality_checks(cage, task.manifest.quality))
    totals, compared = _reconcile(bench, cage)
    checked = (*contract, *quality)
    result = StageResult(
        metrics=StageMetrics(records_in=next((o.records for o in task.inputs if o.name == stage.input), 0)),
        checks=tuple(one.result for one in checked),
        reconciliations=compared,
        control_totals=totals,
    )
    if found := broken(contract):
        raise StageFailed(ErrorType.CONTRACT_VIOLATION, f"{named}: {found}", result)
    if found := broken(quality):
        raise StageFailed(ErrorType.QUALITY_FAILED, f"quality rules do not hold: {found}", result)
    if off := [one for one in compared if not one.holds]:
        words = "; ".join(f"{one.name}: expected {one.expected}, actual {one.actual}, difference {one.difference}" for one in off)
        raise StageFailed(ErrorType.RECONCILIATION_FAILED, f"totals differ from the control totals: {words}", result)
    return result


def _columns(cage: Cage, dataset: str, fields: tuple[Field, ...]) -> Iterator[Checked]:
    """The contract's columns with its types, or such as fit without loss; no others."""
    have = cage.columns(f"SELECT * FROM {quoted(dataset)}")
    for field in fields:
        found = have.get(field.name)
        if found is None or not _fits(found, field):
            detail = f"column {field.name} must be {field.type}, is {found or 'missing'}"
            yield Checked(CheckResult(name=f"{field.name}-type", holds=False, detail=detail), "error")
    if extra := sorted(have.keys() - {field.name for field in fields}):
        detail = f"columns that the contract does not have: {', '.join(extra)}"
        yield Checked(CheckResult(name="no-other-columns", holds=False, detail=detail), "error")


def _fits(found: str, field: Field) -> bool:
    if found == field.type or field.type in _WIDER.get(found, set()):
        return True
    if field.decimal is None or not found.startswith("DECIMAL("):
        return False
    precision, scale = (int(part) for part in found[8:-1].split(","))
    return scale <= field.decimal[1] and precision - scale <= field.decimal[0] - field.decimal[1]


def _one_partition(cage: Cage, dataset: str, task: StageTask) -> Checked:
    column = quoted(task.manifest.partitioning.column)
    other = f"CAST({column} AS VARCHAR) IS DISTINCT FROM {literal(task.data_partition)}"
    count = int(cage.number(f"SELECT count(*) FROM {quoted(dataset)} WHERE {other}"))
    detail = "" if count == 0 else f"{count} rows are not of {task.data_partition}"
    return Checked(CheckResult(name="one-data-partition", holds=count == 0, failed_records=count, detail=detail), "error")


def _reconcile(bench: Bench, cage: Cage) -> tuple[dict[str, str], tuple[Reconciliation, ...]]:
    manifest = bench.task.manifest
    inputs = {output.name: output for output in bench.task.inputs}
    totals: dict[str, str] = {}
    compared = []
    for rule in manifest.reconciliation:
        dataset = next(one.output for one in manifest.stages if one.kind == "read" and one.source == rule.source)
        control = open_control(bench.lake, inputs, dataset)
        totals |= control
        if rule.control_field not in control:
            message = f"the control file of '{rule.source}' has no '{rule.control_field}'; it has {', '.join(sorted(control))}"
            raise StageFailed(ErrorType.CONTROL_UNREADABLE, message)
        value = cage.number(rule.actual_sql)
        try:
            actual = None if value is None else exact(value)
        except ValueError as error:
            raise StageFailed(ErrorType.SQL_FAILED, f"reconciliation {rule.name}: {error}; CAST to DECIMAL") from error
        one = compare(rule.name, exact(control[rule.control_field]), actual, rule.tolerance)
        bench.log("info" if one.holds else "error", "reconciled", name=one.name, expected=one.expected, actual=one.actual, holds=one.holds)
        compared.append(one)
    return totals, tuple(compared)


def _table_rows(dataset: str, fields: tuple[Field, ...], partition_column: str) -> str:
    """The contract's columns in its order and types; the partition column is not in the files (Delta keeps it in the log)."""
    kept = [field for field in fields if field.name != partition_column]
    columns = ", ".join(f"CAST({quoted(field.name)} AS {field.type}) AS {quoted(field.name)}" for field in kept)
    return f"SELECT {columns} FROM {quoted(dataset)}"


def _place(bench: Bench, target: delta.Target, staged: Path, number: int) -> str:
    """The file's place inside the table's folder, under a name that no other attempt uses. Invisible until it is committed."""
    relative = f"{target.partition_column}={target.data_partition}/part-{number:08d}-{bench.task.nonce}.parquet"
    place = target.location / relative
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    try:
        os.link(staged, place)
    except OSError:  # staging on another file system
        shutil.copyfile(staged, place)
    durable(place)
    return relative
