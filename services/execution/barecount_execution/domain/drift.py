"""Drift: a source whose columns are not its contract's, or that brings far more or fewer records than it used to. It stops nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Literal

from barecount_contracts import SOURCE_COLUMNS, CheckResult, DriftDetected
from barecount_manifest import Manifest, Source

from .lane import Lane
from .run import Failing, Run
from .state import State

REMEMBERED = 10
"""Data partitions whose volume is remembered, of each source of a pipeline in an environment."""
ENOUGH = 3
"""Of so few the median says nothing."""

Volumes = tuple[tuple[str, int], ...]
"""(data partition, records read), the newest last."""


def schema_drift(run: Run, stage: str, data_partition: str, checks: Sequence[CheckResult]) -> Iterator[DriftDetected]:
    """What a read stage found about the columns of its landed file."""
    for check in checks:
        if check.name == SOURCE_COLUMNS and not check.holds and any(one.name == stage and one.kind == "read" for one in run.stages):
            source = _source(run, stage)
            expected = f"the columns of {source.contract.name} {source.contract.version}"
            yield _drift(run, data_partition, "schema", source.name, expected, check.detail)


def volume_drift(state: State, run: Run) -> Iterator[DriftDetected]:
    """What the sources brought against the median of the data partitions before; asked when the run is about to end."""
    for lane in run.ordered():
        for stage, records in _read(run, lane):
            before = [count for name, count in state.volumes.get(_series(run, stage), ()) if name != lane.data_partition]
            if len(before) < ENOUGH:
                continue
            bounds = Manifest.model_validate(run.bodies.manifest).drift.volume
            usual = _median(before)
            if not bounds.min_ratio * usual <= records <= bounds.max_ratio * usual:
                least, most = _plain(bounds.min_ratio * usual), _plain(bounds.max_ratio * usual)
                expected = f"{least} to {most} records (the median of {len(before)} data partitions is {_plain(usual)})"
                yield _drift(run, lane.data_partition, "volume", _source(run, stage).name, expected, f"{records} records")


def remember(state: State, run: Run) -> dict[str, Volumes]:
    """What a run that succeeded adds to the volumes; one count for each data partition, that of the newest run."""
    added: dict[str, Volumes] = {}
    for lane in run.ordered():
        for stage, records in _read(run, lane):
            series = _series(run, stage)
            held = added.get(series, state.volumes.get(series, ()))
            others = tuple(one for one in held if one[0] != lane.data_partition)
            added[series] = (*others, (lane.data_partition, records))[-REMEMBERED:]
    return added


def _read(run: Run, lane: Lane) -> Iterator[tuple[str, int]]:
    """(read stage, records) of what was read to its end: the stage succeeded, or it is the one that failed the run over its records."""
    for index, stage in enumerate(run.stages):
        if stage.kind != "read" or stage.name not in lane.metrics:
            continue
        # another data partition's attempt may have been interrupted in the middle of its file
        failed = isinstance(run.phase, Failing) and run.phase.stage == stage.name and len(run.lanes) == 1
        records = lane.metrics[stage.name].records_in
        if index < lane.stage or (failed and records > 0):
            yield stage.name, records


def _series(run: Run, stage: str) -> str:
    return f"{run.tenant}/{run.plan.environment}/{run.plan.pipeline}/{stage}"


def _source(run: Run, stage: str) -> Source:
    manifest = Manifest.model_validate(run.bodies.manifest)
    reading = manifest.stage(stage)
    assert reading.kind == "read", "only a read stage has a source"
    return manifest.source(reading.source)


def _drift(run: Run, data_partition: str, kind: Literal["schema", "volume"], dataset: str, expected: str, actual: str) -> DriftDetected:
    return DriftDetected(
        run_id=run.run_id,
        pipeline=run.plan.pipeline,
        environment=run.plan.environment,
        data_partition=data_partition,
        kind=kind,
        dataset=dataset,
        expected=expected,
        actual=actual,
    )


def _median(counts: Sequence[int]) -> Decimal:
    """Exact: halves stay halves."""
    ordered, middle = sorted(counts), len(counts) // 2
    return Decimal(ordered[middle]) if len(ordered) % 2 else Decimal(ordered[middle - 1] + ordered[middle]) / 2


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
