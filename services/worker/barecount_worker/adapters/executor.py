"""Executing one stage: the one entry for everything that runs tasks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import duckdb
from deltalake.exceptions import DeltaError

from barecount_worker.domain.failure import ErrorType, StageFailed
from barecount_worker.domain.lake import Lake
from barecount_worker.domain.stage import DeadLetter, StageResult, StageTask
from barecount_worker.domain.stop import Stop

from .bench import Bench, Log
from .stage_check import check
from .stage_publish import end_publication, publish
from .stage_read import read
from .stage_sql import sql
from .staging import Staging


def execute(
    task: StageTask,
    lake: Lake,
    on_log: Log,
    on_dead_letter: Callable[[DeadLetter], None],
    stop: Stop,
    memory: str = "1GB",
) -> StageResult:
    """Run one attempt at one stage; it blocks, so give it a thread or a process of its own.

    Staging is the attempt's own folder in the lake. `stop` interrupts at once, also inside a query. `memory` is DuckDB's limit.
    Raises StageFailed, and nothing else, with what was counted until then.
    """
    return _guarded(lambda: _stage(task, lake, on_log, on_dead_letter, stop, memory), on_log)


def execute_fence(task: StageTask, lake: Lake, on_log: Log, stop: Stop) -> StageResult:
    """Take the right to publish from every earlier attempt of a publish stage: the empty commit of `ticket.number`.

    The result's `publication` tells that one of `ticket.superseded` had published before, and is None otherwise. Raises StageFailed.
    """
    return _guarded(lambda: end_publication(_bench(task, lake, on_log, _no_dead_letter, stop, "1GB")), on_log)


def _stage(task: StageTask, lake: Lake, on_log: Log, on_dead_letter: Callable[[DeadLetter], None], stop: Stop, memory: str) -> StageResult:
    stage = task.manifest.stage(task.stage)
    bench = _bench(task, lake, on_log, on_dead_letter, stop, memory)
    on_log("info", "stage-started", kind=stage.kind)
    match stage.kind:
        case "read":
            return read(bench, stage)
        case "check":
            return check(bench, stage)
        case "sql":
            return sql(bench, stage)
        case "publish":
            return publish(bench, stage)


def _bench(task: StageTask, lake: Lake, on_log: Log, on_dead_letter: Callable[[DeadLetter], None], stop: Stop, memory: str) -> Bench:
    if (lake.tenant, lake.environment) != (task.tenant, task.environment):
        raise ValueError(f"the lake is of {lake.tenant}/{lake.environment}, the task of {task.tenant}/{task.environment}")
    folder = lake.staging(task.run_id, task.stage, task.data_partition, task.nonce)
    return Bench(task, lake, Staging(lake, folder), on_log, on_dead_letter, stop, memory)


def _no_dead_letter(letter: DeadLetter) -> None:
    raise AssertionError(f"a fence reads no records: {letter}")


def _guarded(work: Callable[[], StageResult], on_log: Log) -> StageResult:
    """Runs work, counts its time, and turns every foreseen kind of error into StageFailed."""
    started = time.monotonic()
    try:
        result = work()
    except StageFailed as failure:
        failure.result = _timed(failure.result, started)
        on_log("error", "stage-failed", error_type=failure.error_type.value, message=failure.message, retriable=failure.retriable)
        raise
    except (OSError, DeltaError, duckdb.IOException) as error:
        raise _unforeseen(ErrorType.IO_ERROR, error, started, on_log) from error
    except (KeyError, ValueError) as error:  # documents and names that the task brought
        raise _unforeseen(ErrorType.TASK_INVALID, error, started, on_log) from error
    except MemoryError as error:
        raise _unforeseen(ErrorType.RESOURCES_EXCEEDED, error, started, on_log) from error
    except Exception as error:
        raise _unforeseen(ErrorType.WORKER_ERROR, error, started, on_log) from error
    result = _timed(result, started)
    on_log("info", "stage-succeeded", records_in=result.metrics.records_in, records_out=result.metrics.records_out)
    return result


def _timed(result: StageResult, started: float) -> StageResult:
    spent = int((time.monotonic() - started) * 1000)
    return replace(result, metrics=result.metrics.model_copy(update={"duration_ms": spent}))


def _unforeseen(kind: ErrorType, error: Exception, started: float, log: Log) -> StageFailed:
    message = f"{type(error).__name__}: {error}"
    log("error", "stage-failed", error_type=kind.value, message=message, retriable=kind.retriable)
    return StageFailed(kind, message, _timed(StageResult(), started))
