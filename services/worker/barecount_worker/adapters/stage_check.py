"""The check stage: a dataset against the contract of the source that it was read from."""

from __future__ import annotations

from barecount_contracts import StageMetrics
from barecount_manifest import CheckStage

from barecount_worker.domain.failure import ErrorType, StageFailed
from barecount_worker.domain.stage import StageResult

from .bench import Bench
from .cage import open_cage, quoted
from .contract_checks import broken, contract_checks
from .staging import open_input


def check(bench: Bench, stage: CheckStage) -> StageResult:
    """Changes no data. Fails with contract-violation and each broken rule's count."""
    source = bench.task.manifest.source_of(stage.input)
    if source is None:
        raise StageFailed(ErrorType.TASK_INVALID, f"'{stage.input}' was not read from a source")
    inputs = {output.name: output for output in bench.task.inputs}
    file = open_input(bench.lake, inputs, stage.input)
    parameters = {"partition": bench.task.data_partition}
    with open_cage([file], bench.staging.folder, bench.stop, parameters, bench.memory) as cage:
        cage.view(stage.input, file)
        records = int(cage.number(f"SELECT count(*) FROM {quoted(stage.input)}"))
        checked = list(contract_checks(cage, bench.task.contract(source.contract), stage.input))
    result = StageResult(metrics=StageMetrics(records_in=records, records_out=records), checks=tuple(one.result for one in checked))
    if any(one.stops for one in checked):
        message = f"'{stage.input}' breaks contract {source.contract.name} {source.contract.version}: {broken(checked)}"
        raise StageFailed(ErrorType.CONTRACT_VIOLATION, message, result)
    return result
