"""The SQL stage: one SELECT over staged datasets, in the cage."""

from __future__ import annotations

from barecount_contracts import StageMetrics
from barecount_manifest import SqlStage

from barecount_worker.domain.stage import StageResult

from .bench import Bench
from .cage import open_cage
from .staging import open_input


def sql(bench: Bench, stage: SqlStage) -> StageResult:
    """Gives the dataset, ordered by all its columns: the same input gives the same bytes."""
    inputs = {output.name: output for output in bench.task.inputs}
    files = {name: open_input(bench.lake, inputs, name) for name in stage.inputs}
    staged = bench.staging.file(f"{stage.output}.parquet")
    parameters = {"partition": bench.task.data_partition}
    with open_cage(list(files.values()), bench.staging.folder, bench.stop, parameters, bench.memory) as cage:
        for name, file in files.items():
            cage.view(name, file)
        records = cage.copy(stage.sql, staged)
    read = sum(inputs[name].records for name in stage.inputs)
    metrics = StageMetrics(records_in=read, records_out=records, bytes_out=staged.stat().st_size)
    return StageResult(metrics=metrics, outputs=(bench.staging.output(stage.output, staged, records),))
