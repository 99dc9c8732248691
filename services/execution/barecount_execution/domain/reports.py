"""What a worker's report about an attempt makes happen."""

from __future__ import annotations

from barecount_contracts import (
    DataPartitionPublished,
    InterruptTask,
    Publication,
    ReportIgnored,
    ReportTaskAlive,
    ReportTaskFailed,
    ReportTaskStarted,
    ReportTaskSucceeded,
    TaskFailed,
    TaskProgressed,
    TaskStarted,
    TaskSucceeded,
)
from barecount_eventlog import Emit

from .deciding import TASKS, Deciding
from .drift import schema_drift
from .lane import Halted, Lane, Working
from .run import Run

Report = ReportTaskStarted | ReportTaskAlive | ReportTaskSucceeded | ReportTaskFailed

STAGED_BYTES = 250_000
"""What the stages of one data partition may name together: the next task carries all of it in one record."""


def report(deciding: Deciding, tenant: str, command: Report) -> None:
    """Applies a report if it is the open attempt's; else says so, and tells its worker to stop."""
    lease = deciding.state.leases.get(command.task.nonce)
    run = None if lease is None else deciding.state.runs[lease.item[:2]]
    working = None if run is None or lease is None else run.lane(lease.item[2]).step
    if run is None or not isinstance(working, Working) or working.task != command.task or run.run_id != command.run_id:
        _ignore(deciding, tenant, command)
        return
    until = working.lease_until if working.interrupted else deciding.lease()
    match command:
        case ReportTaskStarted():
            deciding.event(run, TaskStarted(run_id=run.run_id, task=working.task, lease_until=until))
        case ReportTaskAlive():
            deciding.event(run, TaskProgressed(run_id=run.run_id, task=working.task, lease_until=until))
        case ReportTaskSucceeded():
            _succeeded(deciding, run, working, command)
        case ReportTaskFailed():
            _failed(deciding, run, working, command)


def _ignore(deciding: Deciding, tenant: str, command: Report) -> None:
    key = (tenant, command.run_id)
    if key in deciding.state.ended:
        code, detail = "run-ended", f"the run {command.run_id} has ended"
    elif key not in deciding.state.runs:
        code, detail = "run-not-found", f"there is no run {command.run_id} in this pool"
    else:
        task = command.task
        code, detail = "stale-attempt", f"attempt {task.attempt} at {task.stage} of {task.data_partition} is not the open one"
    deciding.answer(ReportIgnored(run_id=command.run_id, task=command.task, code=code, detail=detail))
    interrupt = InterruptTask(run_id=command.run_id, task=command.task, reason=code)
    deciding.emits.append(Emit(interrupt, topic=TASKS, key=command.task.worker_id))


def _succeeded(deciding: Deciding, run: Run, working: Working, command: ReportTaskSucceeded) -> None:
    lane = run.lane(working.task.data_partition)
    wrong = _incomplete(run, lane, working, command)
    if wrong is not None:
        error_type, message = wrong
        # who published but cannot say what has to be asked again, by the next attempt or by a fence
        unsure = run.stages[lane.stage].table is not None
        failed = ReportTaskFailed(
            run_id=run.run_id,
            task=command.task,
            error_type=error_type,
            error_message=message,
            retriable=unsure,
            metrics=command.metrics,
            inputs=command.inputs,
            checks=command.checks,
            reconciliations=command.reconciliations,
        )
        _failed(deciding, run, working, failed)
        return
    succeeded = TaskSucceeded(
        run_id=run.run_id,
        task=command.task,
        metrics=command.metrics,
        inputs=command.inputs,
        outputs=command.outputs,
        checks=command.checks,
        reconciliations=command.reconciliations,
    )
    after = deciding.event(run, succeeded)
    _columns(deciding, run, command)
    if after is not None and command.publication is not None:
        published = DataPartitionPublished(run_id=run.run_id, publication=command.publication, reconciliations=command.reconciliations)
        deciding.event(after, published)
    deciding.close(run)


def _failed(deciding: Deciding, run: Run, working: Working, command: ReportTaskFailed) -> None:
    failed = TaskFailed(
        run_id=run.run_id,
        task=command.task,
        error_type=command.error_type,
        error_message=command.error_message,
        retriable=command.retriable,
        metrics=command.metrics,
        inputs=command.inputs,
        checks=command.checks,
        reconciliations=command.reconciliations,
    )
    after = deciding.event(run, failed)
    assert after is not None, "a failed task ends no run by itself"
    _columns(deciding, run, command)
    lane = after.lane(working.task.data_partition)
    if isinstance(lane.step, Halted) and (not after.closing or lane.doubtful):
        deciding.retry(run.key, lane, working.task, reason=command.error_type, wait=True)
    deciding.close(run)


def _columns(deciding: Deciding, run: Run, command: ReportTaskSucceeded | ReportTaskFailed) -> None:
    for drift in schema_drift(run, command.task.stage, command.task.data_partition, command.checks):
        deciding.event(run, drift)


def _incomplete(run: Run, lane: Lane, working: Working, command: ReportTaskSucceeded) -> tuple[str, str] | None:
    """Why a success cannot be one: (error type, message)."""
    publication: Publication | None = command.publication
    stage = run.stages[lane.stage]
    if publication is None:
        if stage.table is not None and not working.fence:
            return "report-incomplete", f"the stage {stage.name} publishes, but its report names no publication"
    elif stage.table is None:
        return "report-incomplete", f"the stage {stage.name} does not publish, but its report names a publication"
    elif publication.ticket not in lane.grants or publication.data_partition != lane.data_partition or publication.table != stage.table:
        return "report-incomplete", f"the publication under ticket {publication.ticket} of {publication.table} is not one of this run's"
    named = sum(len(part.model_dump_json()) for part in (*lane.outputs, *lane.sources, *command.outputs, *command.inputs))
    if named > STAGED_BYTES:
        return "too-many-files", f"inputs and outputs take {named} bytes to name; at most {STAGED_BYTES} fit into the next task"
    return None
