"""What execution answers to each command of its inbox. Every refusal is an event."""

from __future__ import annotations

from barecount_contracts import (
    AdmitRun,
    AnnounceWorker,
    CommandRefused,
    ReportTaskAlive,
    ReportTaskFailed,
    ReportTaskStarted,
    ReportTaskSucceeded,
    RunCancelled,
    RunCancelling,
    RunQueued,
    RunRefused,
    StopRun,
    TaskLeaseExpired,
    TaskRef,
    Tick,
    TickRecorded,
    WorkerAnnounced,
)
from barecount_eventlog import Emit, Inbound
from barecount_manifest import Manifest, digest, referenced_contracts
from pydantic import ValidationError

from .deciding import Deciding
from .lane import Halted, Working
from .reports import report
from .run import Queued, RunKey, stages_of
from .state import State

BODIES_BYTES = 600_000
"""A task carries the bodies beside what was staged, in one record of at most 1 MiB."""


def decide(state: State, inbound: Inbound, lease: int) -> list[Emit]:
    """The events that answer one command. lease: seconds."""
    deciding = Deciding(state, now=inbound.now, position=inbound.position, lease=lease)
    match inbound.payload:
        case AdmitRun() as command:
            _admit(deciding, inbound, command)
        case StopRun() as command:
            _stop(deciding, inbound.command.tenant, command)
        case AnnounceWorker() as command:
            _announce(deciding, inbound, command)
        case ReportTaskStarted() | ReportTaskAlive() | ReportTaskSucceeded() | ReportTaskFailed() as command:
            report(deciding, inbound.command.tenant, command)
        case Tick():
            _tick(deciding)
        case _:
            _refuse(
                deciding, inbound, "unknown-type", f"{inbound.command.type} is not a command of execution; contracts/topics.yaml lists them"
            )
    deciding.fill()
    if not deciding.emits:
        deciding.answer(TickRecorded())
    return deciding.emits


def _admit(deciding: Deciding, inbound: Inbound, command: AdmitRun) -> None:
    key: RunKey = (inbound.command.tenant, command.run_id)
    refusal = _why_not_admitted(deciding.state, inbound, key, command)
    if refusal is not None:
        code, detail = refusal
        deciding.answer(RunRefused(run_id=command.run_id, code=code, detail=detail))
        return
    queued = RunQueued(run_id=command.run_id, pool=command.pool, plan=command.plan, plan_digest=command.plan_digest, bodies=command.bodies)
    deciding.begin(queued, inbound.command.tenant, inbound.command.correlation)


def _why_not_admitted(state: State, inbound: Inbound, key: RunKey, command: AdmitRun) -> tuple[str, str] | None:
    if key in state.runs or key in state.ended:
        return "run-exists", f"the run {command.run_id} was admitted before"
    if command.pool != inbound.key:
        return "wrong-partition", f"the run is for pool {command.pool} but was sent with key {inbound.key}"
    if not command.plan.data_partitions:
        return "invalid-data-partition", "the plan names no data partition"
    size = len(command.bodies.model_dump_json())
    if size > BODIES_BYTES:
        return "payload-too-large", f"manifest and contracts together have {size} bytes; at most {BODIES_BYTES} can be handed to a worker"
    try:
        stages_of(command.bodies.manifest)
        manifest = Manifest.model_validate(command.bodies.manifest)
    except (ValidationError, KeyError) as error:
        return "invalid-manifest", f"the effective manifest cannot be run: {' '.join(str(error).split())[:300]}"
    if digest(command.bodies.manifest) != command.plan.manifest_digest:
        return "invalid-manifest", f"the manifest is not the one of the plan, {command.plan.manifest_digest}"
    given = {(contract.name, contract.version) for contract in command.bodies.contracts}
    missing = [ref for ref in referenced_contracts(manifest) if (ref.name, ref.version) not in given]
    if missing:
        return "unknown-contract-version", f"the contract {missing[0].name} {missing[0].version} of the manifest is not at hand"
    return None


def _stop(deciding: Deciding, tenant: str, command: StopRun) -> None:
    key = (tenant, command.run_id)
    run = deciding.state.runs.get(key)
    if run is None:
        code, detail = ("run-not-found", f"there is no run {command.run_id}")
        if key in deciding.state.ended:
            code, detail = ("run-ended", f"the run {command.run_id} has ended")
        deciding.answer(RunRefused(run_id=command.run_id, code=code, detail=detail))
        return
    if isinstance(run.phase, Queued):
        totals = run.totals(deciding.now)
        ended = RunCancelled(run_id=run.run_id, plan=run.plan, plan_digest=run.plan_digest, totals=totals, reason=command.reason)
        deciding.event(run, ended)
        return
    deciding.event(run, RunCancelling(run_id=run.run_id, reason=command.reason))
    deciding.close(run)


def _announce(deciding: Deciding, inbound: Inbound, command: AnnounceWorker) -> None:
    if command.pool != inbound.key:
        _refuse(deciding, inbound, "wrong-partition", f"the worker is of pool {command.pool} but announced itself with key {inbound.key}")
        return
    old = deciding.state.workers.get(command.worker_id)
    deciding.announced(
        WorkerAnnounced(
            worker_id=command.worker_id,
            incarnation=command.incarnation,
            pool=command.pool,
            slots=command.slots,
            code_version=command.code_version,
        ),
        inbound.command.tenant,
        inbound.command.correlation,
    )
    if old is not None and old.incarnation != command.incarnation:
        for nonce in sorted(old.busy):
            _lose(deciding, nonce)


def _tick(deciding: Deciding) -> None:
    lost, spared = deciding.state.overdue(deciding.now)
    if spared:
        deciding.ticked()
    for nonce in lost:
        _lose(deciding, nonce)


def _lose(deciding: Deciding, nonce: str) -> None:
    """Nothing more is expected of an attempt: its process is gone or silent."""
    lease = deciding.state.leases.get(nonce)
    if lease is None:
        return
    run = deciding.state.runs[lease.item[:2]]
    task = _open(run.lane(lease.item[2]).step)
    after = deciding.event(run, TaskLeaseExpired(run_id=run.run_id, task=task))
    assert after is not None, "losing a task ends no run"
    lane = after.lane(task.data_partition)
    if isinstance(lane.step, Halted) and (not after.closing or lane.doubtful):
        deciding.retry(run.key, lane, task, reason="worker-lost", wait=False)
    deciding.close(run)


def _open(step: object) -> TaskRef:
    assert isinstance(step, Working), "a lease belongs to an open attempt"
    return step.task


def _refuse(deciding: Deciding, inbound: Inbound, code: str, detail: str) -> None:
    command = inbound.command
    deciding.answer(CommandRefused(command_id=command.id, command_type=command.type, code=code, detail=detail))
