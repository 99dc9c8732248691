"""The read stage: a landed file, typed by its contract; bad records to the DLQ, control totals kept for reconciliation."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
from barecount_contracts import SOURCE_COLUMNS, CheckResult, InputFile, StageMetrics
from barecount_manifest import ReadStage, Source, fields_of

from barecount_worker.domain.failure import ErrorType, StageFailed
from barecount_worker.domain.stage import DeadLetter, StageResult
from barecount_worker.domain.totals import exact, text

from .bench import Bench
from .landing_csv import BadRow, HeaderDiffers, LandedCsv, arrow_schema

_ROW_GROUP = 122_880


def read(bench: Bench, stage: ReadStage) -> StageResult:
    """Gives the dataset and, when the source has a control file, its totals. Fails over the manifest's DLQ limits."""
    task, source = bench.task, bench.task.manifest.source(stage.source)
    fields = fields_of(task.contract(source.contract))
    path = _landed(bench, source.path)
    shown = bench.lake.relative(path)
    landed, staged = LandedCsv(path, fields), bench.staging.file(f"{stage.output}.parquet")
    totals, control = _control(bench, source)
    accepted = refused = 0
    with pq.ParquetWriter(staged, arrow_schema(fields), compression="zstd", store_schema=False, version="2.6") as writer:
        try:
            for batch in landed.batches():
                _stop_if_asked(bench, accepted, refused)
                writer.write_batch(batch.good, row_group_size=_ROW_GROUP)
                accepted += batch.good.num_rows
                refused += len(batch.bad)
                for row in batch.bad:
                    _set_aside(bench, stage, shown, row)
        except FileNotFoundError as error:
            message = f"{shown} is not there; deliver it, then run or replay the data partition"
            raise StageFailed(ErrorType.SOURCE_MISSING, message) from error
        except HeaderDiffers as error:
            message = f"{shown} breaks contract {source.contract.name} {source.contract.version}: {error}"
            raise StageFailed(ErrorType.CONTRACT_VIOLATION, message, StageResult(checks=_columns(landed))) from error
    checks = _columns(landed)
    if landed.additional:
        bench.log("warning", "columns-read-over", path=shown, detail=landed.columns)
    read_file = InputFile(path=shown, digest=landed.digest, bytes=landed.size)
    inputs = (read_file,) if control is None else (read_file, control)
    counted = StageMetrics(records_in=accepted + refused, records_out=accepted, dead_lettered=refused, bytes_out=staged.stat().st_size)
    _refuse_too_many(bench, counted, StageResult(metrics=counted, inputs=inputs, checks=checks, control_totals=totals))
    output = bench.staging.output(stage.output, staged, accepted)
    outputs = (output,) if control is None else (output, bench.staging.control(stage.output, totals))
    return StageResult(metrics=counted, inputs=inputs, outputs=outputs, checks=checks, control_totals=totals)


def _columns(landed: LandedCsv) -> tuple[CheckResult, ...]:
    return (CheckResult(name=SOURCE_COLUMNS, holds=not landed.columns, detail=landed.columns),)


def _control(bench: Bench, source: Source) -> tuple[dict[str, str], InputFile | None]:
    """The deliverer's totals as decimal text; a number with a decimal point keeps its digits, it never becomes a float."""
    if source.control is None:
        return {}, None
    path = _landed(bench, source.control)
    shown = bench.lake.relative(path)
    try:
        content = path.read_bytes()
        loaded = json.loads(content, parse_float=Decimal)
        if not isinstance(loaded, dict):
            raise ValueError("is not an object of totals")
        totals = {str(name): text(exact(value)) for name, value in loaded.items()}
    except FileNotFoundError as error:
        raise StageFailed(ErrorType.SOURCE_MISSING, f"{shown} is not there; the deliverer writes it after the data") from error
    except ValueError as error:
        raise StageFailed(ErrorType.CONTROL_UNREADABLE, f"{shown}: {error}") from error
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    return totals, InputFile(path=shown, digest=digest, bytes=len(content))


def _landed(bench: Bench, named: str) -> Path:
    """The landed file; a link that a deliverer made to somebody else's file is refused."""
    path = bench.lake.landing(named, bench.task.data_partition)
    if not path.resolve().is_relative_to(bench.lake.home.resolve()):
        raise StageFailed(ErrorType.TASK_INVALID, f"{bench.lake.relative(path)} links out of the tenant's lake; deliver the file itself")
    return path


def _set_aside(bench: Bench, stage: ReadStage, path: str, row: BadRow) -> None:
    bench.dead_letter(DeadLetter(row.error_type, row.reason, stage.name, path, row.line, row.offset, row.payload))
    bench.log("warning", "record-dead-lettered", error_type=row.error_type, reason=row.reason, path=path, line=row.line)


def _refuse_too_many(bench: Bench, counted: StageMetrics, result: StageResult) -> None:
    limits = bench.task.manifest.dlq
    share = Decimal(counted.dead_lettered) / counted.records_in if counted.records_in else Decimal(0)
    if counted.dead_lettered > limits.max_records or share > limits.max_fraction:
        message = (
            f"{counted.dead_lettered} of {counted.records_in} records could not be read ({share:.4%}); "
            f"the manifest allows {limits.max_records} and {limits.max_fraction:.2%}"
        )
        raise StageFailed(ErrorType.DEAD_LETTER_THRESHOLD, message, result)


def _stop_if_asked(bench: Bench, accepted: int, refused: int) -> None:
    if bench.stop():
        counted = StageMetrics(records_in=accepted + refused, records_out=0, dead_lettered=refused)
        raise StageFailed(ErrorType.INTERRUPTED, bench.stop.reason, StageResult(metrics=counted))
