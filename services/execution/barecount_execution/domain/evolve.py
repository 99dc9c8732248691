"""What an event makes of the state. Total: an event about something unknown changes only the clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from barecount_contracts import (
    DataPartitionPublished,
    Message,
    PublishTicketGranted,
    RunCancelled,
    RunCancelling,
    RunFailed,
    RunQueued,
    RunStarted,
    RunSucceeded,
    TaskDispatched,
    TaskFailed,
    TaskLeaseExpired,
    TaskProgressed,
    TaskRef,
    TaskRetryScheduled,
    TaskStarted,
    TaskSucceeded,
    TickRecorded,
    WorkerAnnounced,
)
from immutables import Map

from .drift import remember
from .lane import Halted, Lane, Ready, Waiting, Working
from .pool import Item, Worker
from .run import Cancelling, Failing, Queued, Run, Running, stages_of
from .state import Lease, Shared, State


@dataclass(frozen=True, slots=True)
class Fact:
    """An event as evolve needs it: the same when it is decided and when it is read again."""

    payload: Message
    tenant: str
    correlation: UUID
    time: datetime


def apply(state: State, fact: Fact) -> State:
    """The state after one event."""
    state = advance(state, fact.time)
    match fact.payload:
        case RunQueued() as event:
            return _queued(state, fact, event)
        case WorkerAnnounced() as event:
            return _announced(state, event)
        case TickRecorded():
            return _spared(state, fact.time)
        case (
            RunStarted() | TaskDispatched() | PublishTicketGranted() | TaskStarted() | TaskProgressed() | TaskSucceeded() | TaskFailed()
            | TaskRetryScheduled() | TaskLeaseExpired() | DataPartitionPublished() | RunCancelling() | RunSucceeded() | RunFailed()
            | RunCancelled() as event
        ):  # fmt: skip
            run = state.runs.get((fact.tenant, event.run_id))
            return state if run is None else _of_run(state, run, event, fact.time)
        case _:
            return state


def advance(state: State, now: datetime) -> State:
    """Time passes: lanes whose waiting is over get in line. It never goes backwards."""
    clock = now if state.clock is None or now > state.clock else state.clock
    due = sorted((at, item) for item, at in state.retries.items() if at <= clock)
    state = replace(state, clock=clock)
    for _, item in due:
        run = state.runs[item[:2]]
        lane = run.lane(item[2])
        assert isinstance(lane.step, Waiting)
        state = state.with_lane(run, replace(lane, step=Ready(lane.step.fence)))
    return state


def _of_run(state: State, run: Run, event: Message, now: datetime) -> State:
    match event:
        case RunStarted():
            return state.with_run(replace(run, phase=Running(now))) if isinstance(run.phase, Queued) else state
        case TaskDispatched():
            return _dispatched(state, run, event, now)
        case PublishTicketGranted(data_partition=name, ticket=ticket):
            lane = run.lane(name)
            state = replace(state, tickets=state.tickets.set(ticket.app_id, (ticket.number - 1) // 2))
            return state.with_run(run.with_lane(replace(lane, grants=(*lane.grants, ticket.number))))
        case TaskStarted(task=task, lease_until=until) | TaskProgressed(task=task, lease_until=until):
            return _extended(state, run, task, until)
        case TaskSucceeded():
            return _succeeded(state, run, event)
        case DataPartitionPublished(publication=publication):
            return _published(state, run, publication.data_partition, publication.ticket, publication.records)
        case TaskFailed():
            return _failed(state, run, event, now)
        case TaskLeaseExpired(task=task):
            return _lost(state, run, task, now)
        case TaskRetryScheduled():
            lane, fence = run.lane(event.data_partition), run.closing
            step = Ready(fence) if event.not_before <= now else Waiting(event.not_before, fence)
            return state.with_lane(run, replace(lane, step=step))
        case RunCancelling(reason=reason):
            match run.phase:
                case Queued():
                    return _closing(state, replace(run, phase=Cancelling(None, reason)))
                case Running(started=started):
                    return _closing(state, replace(run, phase=Cancelling(started, reason)))
                case Cancelling() | Failing():
                    return state
        case RunSucceeded():
            return _ended(replace(state, volumes=state.volumes.update(remember(state, run))), run)
        case RunFailed() | RunCancelled():
            return _ended(state, run)
        case _:
            return state


def _queued(state: State, fact: Fact, event: RunQueued) -> State:
    stages, retry = stages_of(event.bodies.manifest)
    name = bodies_key(event)
    held = state.bodies.get(name)
    shared = Shared(event.bodies, 1) if held is None else replace(held, uses=held.uses + 1)
    lanes = {partition: Lane(partition) for partition in event.plan.data_partitions}
    run = Run(
        tenant=fact.tenant,
        run_id=event.run_id,
        pool=event.pool,
        correlation=fact.correlation,
        plan=event.plan,
        plan_digest=event.plan_digest,
        bodies=shared.bodies,
        stages=stages,
        retry=retry,
        phase=Queued(),
        lanes=Map(lanes),
    )
    pool = state.pool(event.pool).with_fresh(fact.tenant, ((fact.tenant, event.run_id, partition) for partition in lanes))
    return replace(state.with_run(run).with_pool(pool), bodies=state.bodies.set(name, shared))


def bodies_key(event: RunQueued | Run) -> str:
    """What the bodies of a run are, by the digests of everything in them."""
    return "+".join((event.plan.manifest_digest, *sorted(contract.digest for contract in event.bodies.contracts)))


def _announced(state: State, event: WorkerAnnounced) -> State:
    old = state.workers.get(event.worker_id)
    busy = old.busy if old is not None and old.incarnation == event.incarnation else frozenset()
    return state.with_worker(Worker(event.worker_id, event.incarnation, event.pool, event.slots, busy))


def _dispatched(state: State, run: Run, event: TaskDispatched, now: datetime) -> State:
    task, lane = event.task, run.lane(event.task.data_partition)
    item: Item = (run.tenant, run.run_id, task.data_partition)
    fence = event.purpose == "fence"
    lane = replace(
        lane,
        step=Working(task, event.lease_until, fence),
        attempts=task.attempt,
        tries=lane.tries + 1 if fence else lane.tries,
        worker=task.worker_id,
    )
    state = state.with_lane(run, lane)
    state = state.with_pool(state.pool(run.pool).served(run.tenant))
    worker = state.workers.get(task.worker_id)
    if worker is not None:
        state = state.with_worker(replace(worker, busy=worker.busy | {task.nonce}))
    return replace(state, leases=state.leases.set(task.nonce, Lease(item, event.lease_until, event.lease_until - now)))


def _extended(state: State, run: Run, task: TaskRef, until: datetime) -> State:
    lane, lease = run.lane(task.data_partition), state.leases.get(task.nonce)
    if lease is None or not isinstance(lane.step, Working):
        return state
    run = run.with_lane(replace(lane, step=replace(lane.step, lease_until=until)))
    return replace(state.with_run(run), leases=state.leases.set(task.nonce, replace(lease, until=until, heard=True)))


def _spared(state: State, now: datetime) -> State:
    for nonce in state.overdue(now)[1]:
        lease = state.leases[nonce]
        run = state.runs[lease.item[:2]]
        lane = run.lane(lease.item[2])
        assert isinstance(lane.step, Working)
        until = now + lease.length
        state = state.with_run(run.with_lane(replace(lane, step=replace(lane.step, lease_until=until))))
        state = replace(state, leases=state.leases.set(nonce, replace(lease, until=until, heard=True)))
    return state


def _released(state: State, run: Run, task: TaskRef, *, withdraw: bool = False) -> State:
    """The attempt holds its slot no longer. withdraw: its worker gets nothing more until it announces itself."""
    if task.nonce not in state.leases:
        return state
    state = replace(state.with_pool(state.pool(run.pool).released(run.tenant)), leases=state.leases.delete(task.nonce))
    worker = state.workers.get(task.worker_id)
    if worker is None or worker.incarnation != task.incarnation:
        return state
    return state.with_worker(replace(worker, busy=worker.busy - {task.nonce}, announced=worker.announced and not withdraw))


def _succeeded(state: State, run: Run, event: TaskSucceeded) -> State:
    lane = run.lane(event.task.data_partition)
    if not isinstance(lane.step, Working):
        return state
    state = _released(state, run, event.task)
    if lane.step.fence:
        # the publication that it may have found follows as its own event
        return state.with_lane(run, replace(lane, step=Halted(), doubtful=False))
    stage = event.task.stage
    lane = replace(
        lane,
        outputs=(*lane.outputs, *event.outputs),
        sources=(*lane.sources, *event.inputs),
        metrics=lane.metrics.set(stage, event.metrics),
        reconciliations=lane.reconciliations.set(stage, event.reconciliations),
    )
    return state.with_lane(run, lane.next_stage(len(run.stages), closing=run.closing))


def _published(state: State, run: Run, name: str, ticket: int, records: int) -> State:
    lane = run.lane(name)
    lane = replace(lane, published=lane.published + records)
    if isinstance(lane.step, Halted) and ticket in lane.grants:
        # found by a fence: that stage has succeeded after all
        lane = lane.next_stage(len(run.stages), closing=True)
    return state.with_lane(run, lane)


def _failed(state: State, run: Run, event: TaskFailed, now: datetime) -> State:
    lane = run.lane(event.task.data_partition)
    if not isinstance(lane.step, Working):
        return state
    state = _released(state, run, event.task)
    if lane.step.fence:
        return state.with_lane(run, replace(lane, step=Halted()))
    # an attempt that was interrupted, or that does not know, may have committed; one that failed for good says that it has not
    unsure = bool(lane.grants) and (event.retriable or lane.step.interrupted)
    stage = event.task.stage
    lane = replace(
        lane,
        step=Halted(),
        doubtful=lane.doubtful or unsure,
        metrics=lane.metrics.set(stage, event.metrics),
        reconciliations=lane.reconciliations.set(stage, event.reconciliations),
    )
    over = not event.retriable or lane.attempts >= run.retry.attempts
    return _after_failure(state, run, lane, over, now, (stage, event.error_type, event.error_message))


def _lost(state: State, run: Run, task: TaskRef, now: datetime) -> State:
    lane = run.lane(task.data_partition)
    if not isinstance(lane.step, Working):
        return state
    state = _released(state, run, task, withdraw=True)
    if lane.step.fence:
        return state.with_lane(run, replace(lane, step=Halted()))
    lane = replace(lane, step=Halted(), doubtful=lane.doubtful or bool(lane.grants))
    message = f"worker {task.worker_id} was lost {lane.attempts} times or more at stage {task.stage} of {task.data_partition}"
    if lane.attempts == 1:
        message = f"worker {task.worker_id} was lost at stage {task.stage} of {task.data_partition}"
    return _after_failure(state, run, lane, lane.attempts >= run.retry.attempts, now, (task.stage, "worker-lost", message))


def _after_failure(state: State, run: Run, lane: Lane, over: bool, now: datetime, why: tuple[str, str, str]) -> State:
    if run.closing:
        return state.with_lane(run, lane.at_rest())
    state = state.with_lane(run, lane)
    if not over:
        return state  # a retry is scheduled by the next event
    run = state.runs[run.key]
    started = run.phase.started if isinstance(run.phase, Running) else now
    return _closing(state, replace(run, phase=Failing(started, *why)))


def _closing(state: State, run: Run) -> State:
    state = state.with_run(run)
    for lane in run.ordered():
        resting = lane.at_rest()
        if resting != lane:
            state = state.with_lane(state.runs[run.key], resting)
    return state


def _ended(state: State, run: Run) -> State:
    items = [(run.tenant, run.run_id, name) for name in run.lanes]
    for working in run.working():
        state = _released(state, run, working.task)
    retries = state.retries
    for item in items:
        if item in retries:
            retries = retries.delete(item)
    name = bodies_key(run)
    shared = state.bodies[name]
    bodies = state.bodies.set(name, replace(shared, uses=shared.uses - 1)) if shared.uses > 1 else state.bodies.delete(name)
    return replace(
        state.with_pool(state.pool(run.pool).without(run.tenant, items)),
        runs=state.runs.delete(run.key),
        ended=state.ended.set(run.key, True),
        retries=retries,
        bodies=bodies,
    )
