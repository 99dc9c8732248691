"""A partition of execution in a test: commands in, events out, time and offsets as data. What a handler does, without Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid5

from barecount_contracts import (
    PLATFORM,
    AdmitRun,
    AnnounceWorker,
    Bodies,
    Cause,
    ContractBody,
    ContractRef,
    Envelope,
    InterruptTask,
    Message,
    PlanSummary,
    Position,
    Publication,
    Reconciliation,
    ReportTaskAlive,
    ReportTaskFailed,
    ReportTaskStarted,
    ReportTaskSucceeded,
    RunTask,
    StagedOutput,
    StageMetrics,
    StopRun,
    Tick,
    event_id,
)
from barecount_eventlog import Emit, Inbound
from barecount_execution.domain import ExecutionDecider, State
from barecount_manifest import digest

SPACE = UUID("00000000-0000-0000-0000-00000000c0de")
BEGIN = datetime(2025, 10, 5, 6, 0, tzinfo=UTC)
DAY = "2025-10-04"
DIGEST = "sha256:" + "a" * 64
M = TypeVar("M", bound=Message)

READ = {"name": "read", "kind": "read", "source": "transactions", "output": "rows"}
SQL = {"name": "aggregate", "kind": "sql", "inputs": ["rows"], "output": "revenue", "sql": "SELECT * FROM rows"}
PUBLISH = {"name": "publish", "kind": "publish", "input": "revenue", "sink": "kpi"}


def manifest(stages: Sequence[dict[str, Any]] = (READ, SQL, PUBLISH), attempts: int = 3) -> dict[str, Any]:
    return {
        "apiVersion": "barecount.io/v1",
        "kind": "Pipeline",
        "name": "revenue-kpi",
        "owner": "finance",
        "pool": "default",
        "partitioning": {"by": "day", "column": "day", "timezone": "Europe/Berlin"},
        "sources": [
            {"name": "transactions", "format": "csv", "path": "in/{partition}.csv", "contract": {"name": "retail", "version": "v1"}}
        ],
        "sinks": [{"name": "kpi", "format": "delta", "path": "tables/kpi", "contract": {"name": "revenue-kpi", "version": "v3.2"}}],
        "stages": list(stages),
        "retry": {"max_attempts": attempts, "backoff_seconds": 2, "max_backoff_seconds": 60},
    }


def bodies(document: dict[str, Any] | None = None) -> Bodies:
    named = (("revenue-kpi", "v3.2"), ("retail", "v1"))
    contracts = tuple(ContractBody(name=n, version=v, digest=DIGEST, document={"kind": "DataContract"}) for n, v in named)
    return Bodies(manifest=document or manifest(), contracts=contracts)


def plan(*days: str, document: dict[str, Any] | None = None) -> PlanSummary:
    return PlanSummary(
        pipeline="revenue-kpi",
        environment="prod",
        manifest_version=1,
        manifest_digest=digest(document or manifest()),
        contract=ContractRef(name="revenue-kpi", version="v3.2"),
        data_partitions=days or (DAY,),
        mode="run",
    )


class World:
    """events: every own event so far as an envelope. answers: of the latest command, tasks included."""

    def __init__(self, lease: int = 10) -> None:
        self.decider = ExecutionDecider(lease)
        self.state: State = self.decider.initial()
        self.now, self.offset = BEGIN, 0
        self.events: list[Envelope] = []
        self.tasks: list[RunTask] = []
        self.interrupts: list[InterruptTask] = []
        self.answers: list[Emit] = []

    def send(self, payload: Message, *, tenant: str = "acme", key: str = "default", correlation: UUID | None = None) -> list[Message]:
        """Decides one command; the payloads of the own events that answer it."""
        command_id = uuid5(SPACE, f"{self.offset}")
        command = Envelope(
            id=command_id,
            type=payload.TYPE,
            tenant=tenant,
            time=self.now,
            correlation=correlation or command_id,
            data=payload.to_data(),
        )
        position = Position(topic="runs.commands", partition=0, offset=self.offset)
        self.answers = list(self.decider.decide(self.state, Inbound(command, payload, position, key, self.now)))
        mine = []
        for index, emit in enumerate(self.answers):
            if emit.topic is not None:
                assert emit.topic == "runs.tasks"
                self._addressed(emit)
                continue
            event = Envelope(
                id=event_id(position.topic, position.partition, position.offset, index),
                type=emit.payload.TYPE,
                tenant=emit.tenant or tenant,
                time=self.now,
                correlation=emit.correlation or command.correlation,
                cause=Cause(**position.model_dump(), index=index, count=len(self.answers)),
                data=emit.payload.to_data(),
            )
            self.events.append(event)
            self.state = self.decider.evolve(self.state, event)
            mine.append(emit.payload)
        self.offset += 1
        return mine

    def _addressed(self, emit: Emit) -> None:
        match emit.payload:
            case RunTask() as task:
                assert emit.key == task.task.worker_id
                self.tasks.append(task)
            case InterruptTask() as interrupt:
                assert emit.key == interrupt.task.worker_id
                self.interrupts.append(interrupt)
            case other:
                raise AssertionError(f"{other.TYPE} is not for runs.tasks")

    def later(self, seconds: float) -> World:
        self.now += timedelta(seconds=seconds)
        return self

    def announce(
        self, worker: str = "w1", incarnation: str = "a", slots: int = 1, pool: str = "default", key: str | None = None
    ) -> list[Message]:
        command = AnnounceWorker(worker_id=worker, incarnation=incarnation, pool=pool, slots=slots, code_version="1")
        return self.send(command, tenant=PLATFORM, key=key or pool)

    def admit(
        self,
        run_id: str = "run_1",
        *days: str,
        tenant: str = "acme",
        document: dict[str, Any] | None = None,
        pool: str = "default",
    ) -> list[Message]:
        command = AdmitRun(run_id=run_id, pool=pool, plan=plan(*days, document=document), plan_digest=DIGEST, bodies=bodies(document))
        return self.send(command, tenant=tenant, key=pool)

    def stop(self, run_id: str = "run_1", tenant: str = "acme") -> list[Message]:
        return self.send(StopRun(run_id=run_id, reason="not needed"), tenant=tenant)

    def tick(self) -> list[Message]:
        return self.send(Tick(partition=0), tenant=PLATFORM)

    def silent(self) -> list[Message]:
        """Nothing is heard until the latest task's lease is over; the answer to the tick that finds out."""
        spared = self.later(10).tick()
        return self.later(10).tick() if spared[0].TYPE == "TickRecorded" else spared

    @property
    def task(self) -> RunTask:
        """The task that was handed out last."""
        return self.tasks[-1]

    def started(self, task: RunTask | None = None) -> list[Message]:
        task = task or self.task
        return self.send(ReportTaskStarted(run_id=task.run_id, task=task.task))

    def alive(self, task: RunTask | None = None) -> list[Message]:
        task = task or self.task
        return self.send(ReportTaskAlive(run_id=task.run_id, task=task.task, sequence=1))

    def succeeded(self, task: RunTask | None = None, *, dead: int = 0, publication: Publication | None = None) -> list[Message]:
        """A success as the stage gives it: reads 1000 records, publishes 7."""
        task = task or self.task
        report = success(task, dead=dead)
        return self.send(report.model_copy(update={"publication": publication}) if publication else report)

    def failed(self, task: RunTask | None = None, *, retriable: bool = False, error: str = "contract-violated") -> list[Message]:
        task = task or self.task
        metrics = StageMetrics(records_in=1000, dead_lettered=4)
        report = ReportTaskFailed(
            run_id=task.run_id, task=task.task, error_type=error, error_message="it broke", retriable=retriable, metrics=metrics
        )
        return self.send(report)

    def restored(self) -> State:
        """The state as a new owner would restore it, from the log alone."""
        state = self.decider.initial()
        for event in self.events:
            state = self.decider.evolve(state, Envelope.model_validate_json(event.to_bytes()))
        return state


def success(task: RunTask, *, dead: int = 0) -> ReportTaskSucceeded:
    kind = task.task.stage
    publication = published(task) if kind == "publish" and task.purpose == "execute" else None
    holds = Reconciliation(name="total", expected="10.00", actual="10.00", difference="0.00", holds=True)
    return ReportTaskSucceeded(
        run_id=task.run_id,
        task=task.task,
        metrics=StageMetrics(records_in=1000, records_out=7 if kind != "read" else 1000 - dead, dead_lettered=dead),
        outputs=(StagedOutput(name=kind, files=(f"staging/{kind}.parquet",), records=7, digest=DIGEST),) if kind != "publish" else (),
        reconciliations=(holds,) if publication else (),
        publication=publication,
    )


def published(task: RunTask, ticket: int | None = None, already: bool = False) -> Publication:
    assert task.ticket is not None
    return Publication(
        table=task.ticket.table,
        data_partition=task.task.data_partition,
        delta_version=1,
        ticket=ticket or task.ticket.number,
        files_digest=DIGEST,
        records=7,
        already=already,
    )


def names(messages: Sequence[Message]) -> list[str]:
    return [message.TYPE for message in messages]


def one(messages: Sequence[Message], kind: type[M]) -> M:
    """The only one of that type."""
    found = [message for message in messages if isinstance(message, kind)]
    assert len(found) == 1, f"{kind.__name__} stands {len(found)} times in {names(messages)}"
    return found[0]
