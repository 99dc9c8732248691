"""One decision under way: what was decided so far and the state that it makes. It dies with the call of decide."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from barecount_contracts import (
    PLATFORM,
    InterruptTask,
    Message,
    Position,
    PublishTicket,
    PublishTicketGranted,
    RunCancelled,
    RunFailed,
    RunQueued,
    RunStarted,
    RunSucceeded,
    RunTask,
    TaskDispatched,
    TaskRef,
    TaskRetryScheduled,
    TickRecorded,
    WorkerAnnounced,
    event_id,
)
from barecount_eventlog import Emit

from .drift import volume_drift
from .evolve import Fact, advance, apply
from .lane import Lane
from .pool import Worker
from .run import Cancelling, Failing, Queued, Run, RunKey, Running
from .state import State

TASKS = "runs.tasks"


class Deciding:
    """Collects events and folds them, so that each step of a decision sees what the steps before it decided."""

    def __init__(self, state: State, *, now: datetime, position: Position, lease: int) -> None:
        self.state = advance(state, now)
        self.now, self._position, self._lease = now, position, lease
        self.emits: list[Emit] = []

    def lease(self) -> datetime:
        """Until when an attempt that is heard of now keeps its slot."""
        return self.now + timedelta(seconds=self._lease)

    def answer(self, payload: Message) -> None:
        """An event of nobody's run: it keeps the command's tenant and correlation."""
        self.emits.append(Emit(payload))

    def begin(self, queued: RunQueued, tenant: str, correlation: UUID) -> None:
        """A run's first event; its chain is the one of the command that admits it."""
        self._first(queued, tenant, correlation)

    def announced(self, worker: WorkerAnnounced, tenant: str, correlation: UUID) -> None:
        self._first(worker, tenant, correlation)

    def ticked(self) -> None:
        """Time passed; see State.overdue for what it gives to attempts that were never heard of."""
        self.answer(TickRecorded())
        self.state = apply(self.state, Fact(TickRecorded(), PLATFORM, UUID(int=0), self.now))

    def _first(self, payload: Message, tenant: str, correlation: UUID) -> None:
        self.answer(payload)
        self.state = apply(self.state, Fact(payload, tenant, correlation, self.now))

    def event(self, run: Run, payload: Message) -> Run | None:
        """An event of a run, with its tenant and chain. The run as it is then, None once it ended."""
        self.emits.append(Emit(payload, tenant=run.tenant, correlation=run.correlation))
        self.state = apply(self.state, Fact(payload, run.tenant, run.correlation, self.now))
        return self.state.runs.get(run.key)

    def interrupt(self, run: Run, task: TaskRef, reason: str) -> None:
        payload = InterruptTask(run_id=run.run_id, task=task, reason=reason)
        self.emits.append(Emit(payload, tenant=run.tenant, topic=TASKS, key=task.worker_id, correlation=run.correlation))

    def retry(self, key: RunKey, lane: Lane, task: TaskRef, *, reason: str, wait: bool) -> None:
        """Another attempt, after the backoff when the last one failed, at once when its worker was lost."""
        run = self.state.runs[key]
        failures = lane.tries if run.closing else lane.attempts
        payload = TaskRetryScheduled(
            run_id=run.run_id,
            stage=task.stage,
            data_partition=task.data_partition,
            next_attempt=lane.attempts + 1,
            not_before=self.now + run.retry.backoff(max(1, failures)) if wait else self.now,
            reason=reason,
        )
        self.event(run, payload)

    def close(self, before: Run) -> None:
        """After something of a run changed: interrupts what is not wanted any more, and ends the run when nothing is left."""
        run = self.state.runs.get(before.key)
        if run is None:
            return
        wanted = {w.task.nonce for w in before.working() if not w.interrupted}
        for working in run.working():
            if working.interrupted and working.task.nonce in wanted:
                self.interrupt(run, working.task, "run-cancelled" if isinstance(run.phase, Cancelling) else "run-failed")
        if run.done:
            self._drifted(run)
            self.event(run, RunSucceeded(run_id=run.run_id, plan=run.plan, plan_digest=run.plan_digest, totals=run.totals(self.now)))
        elif run.closing and run.still:
            if isinstance(run.phase, Failing):
                self._drifted(run)
            self.event(run, self._end(run))

    def _drifted(self, run: Run) -> None:
        for drift in volume_drift(self.state, run):
            self.event(run, drift)

    def fill(self) -> None:
        """Gives free slots to who waits, until one of them runs out."""
        for name in sorted(self.state.pools):
            while (item := self.state.pool(name).next()) is not None:
                run = self.state.runs[item[:2]]
                worker = self._worker(name, run.lane(item[2]))
                if worker is None:
                    break
                self._dispatch(run, run.lane(item[2]), worker)

    def _end(self, run: Run) -> Message:
        totals = run.totals(self.now)
        match run.phase:
            case Failing(stage=stage, error_type=error_type, error_message=message):
                return RunFailed(
                    run_id=run.run_id,
                    plan=run.plan,
                    plan_digest=run.plan_digest,
                    totals=totals,
                    stage=stage,
                    error_type=error_type,
                    error_message=message,
                )
            case Cancelling(reason=reason):
                return RunCancelled(run_id=run.run_id, plan=run.plan, plan_digest=run.plan_digest, totals=totals, reason=reason)
            case Queued() | Running():
                raise AssertionError("only a closing run is ended here")

    def _worker(self, pool: str, lane: Lane) -> Worker | None:
        """The worker with most free slots; another one than had the attempt before, if there is one."""
        free = [worker for worker in self.state.workers.values() if worker.pool == pool and worker.free]
        before = lane.worker if lane.attempts else None
        return min(free, key=lambda w: (w.worker_id == before, -w.free, w.worker_id), default=None)

    def _dispatch(self, run: Run, lane: Lane, worker: Worker) -> None:
        if isinstance(run.phase, Queued):
            run = self._still(self.event(run, RunStarted(run_id=run.run_id)))
        stage, fence = run.stages[lane.stage], run.closing
        nonce = str(event_id(self._position.topic, self._position.partition, self._position.offset, len(self.emits)))
        task = TaskRef(
            stage=stage.name,
            data_partition=lane.data_partition,
            attempt=lane.attempts + 1,
            nonce=nonce,
            worker_id=worker.worker_id,
            incarnation=worker.incarnation,
        )
        purpose = "fence" if fence else "execute"
        until = self.lease()
        run = self._still(self.event(run, TaskDispatched(run_id=run.run_id, task=task, lease_until=until, purpose=purpose)))
        ticket = None
        if stage.table is not None:
            ticket = self._ticket(run, lane, stage.table)
            granted = PublishTicketGranted(run_id=run.run_id, data_partition=lane.data_partition, nonce=nonce, ticket=ticket)
            run = self._still(self.event(run, granted))
        order = RunTask(
            run_id=run.run_id,
            task=task,
            plan=run.plan,
            plan_digest=run.plan_digest,
            bodies=run.bodies,
            inputs=lane.outputs,
            source_inputs=lane.sources,
            totals_so_far=run.figures_of(lane),
            ticket=ticket,
            lease_seconds=self._lease,
            purpose=purpose,
        )
        self.emits.append(Emit(order, tenant=run.tenant, topic=TASKS, key=worker.worker_id, correlation=run.correlation))

    def _ticket(self, run: Run, lane: Lane, table: str) -> PublishTicket:
        """The n-th grant of a data partition commits `fence` 2n and then `number` 2n+1, so both rise over all runs and attempts."""
        app_id = run.app_id(lane.data_partition)
        grant = self.state.tickets.get(app_id, 0) + 1
        return PublishTicket(app_id=app_id, table=table, number=2 * grant + 1, fence=2 * grant, superseded=lane.grants)

    @staticmethod
    def _still(run: Run | None) -> Run:
        assert run is not None, "a dispatch does not end a run"
        return run
