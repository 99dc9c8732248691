"""The life of runs: what execution is told and what it decides; tasks addressed to workers; what workers log and set aside."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from .message import Message, Part, message
from .pipelines import Digest, PlanSummary


class ContractBody(Part):
    """A data contract with its document, as a worker needs it."""

    name: str
    version: str
    digest: Digest
    document: dict[str, Any]


class Bodies(Part):
    """What a plan's digests stand for: a worker needs nothing else."""

    manifest: dict[str, Any] = Field(description="The effective manifest")
    contracts: tuple[ContractBody, ...]


class TaskRef(Part):
    """One attempt at one stage of one data partition."""

    stage: str
    data_partition: str
    attempt: int = Field(ge=1)
    nonce: str = Field(description="Names this attempt; a report with another nonce is refused")
    worker_id: str
    incarnation: str = Field(description="Names one life of the worker's process")


class PublishTicket(Part):
    """The right to publish one data partition of a table, and the fence that takes it from everybody before.

    Numbers rise per table and data partition over all runs and attempts. `fence` is committed empty first when `superseded` is
    not empty; `number` is committed with the data (Delta application transactions).
    """

    app_id: str = Field(description="<tenant>/<environment>/<pipeline>/<data partition>")
    table: str
    number: int
    fence: int
    superseded: tuple[int, ...] = Field(default=(), description="Numbers of this run's earlier attempts that may have published")


class StagedOutput(Part):
    """What a stage left in staging, by name."""

    name: str
    files: tuple[str, ...] = Field(description="Paths relative to the lake")
    records: int
    digest: Digest


class StageMetrics(Part):
    records_in: int = 0
    records_out: int = 0
    dead_lettered: int = 0
    bytes_out: int = 0
    duration_ms: int = 0


class CheckResult(Part):
    """One contract or quality rule, checked."""

    name: str
    holds: bool
    failed_records: int = 0
    detail: str = ""


class Reconciliation(Part):
    """One total compared; money as decimal strings."""

    name: str
    expected: str
    actual: str
    difference: str
    holds: bool


class Publication(Part):
    """A commit in a Delta table's log."""

    table: str
    data_partition: str
    delta_version: int
    ticket: int
    files_digest: Digest
    records: int
    already: bool = Field(default=False, description="An earlier attempt of this run had committed; this one only found it")


class InputFile(Part):
    """A file that a stage read, as it was."""

    path: str
    digest: Digest
    bytes: int


# --- commands ---------------------------------------------------------------------------------------------------------------


@message(outcome="requested")
class AdmitRun(Message):
    """By policy: a run that the command service admitted."""

    run_id: str
    pool: str
    plan: PlanSummary
    plan_digest: Digest
    bodies: Bodies


@message(outcome="requested")
class StopRun(Message):
    """By policy: somebody wants a run to end."""

    run_id: str
    reason: str


@message(outcome="requested")
class AnnounceWorker(Message):
    """A worker says which slots are free, after it has fixed the position from which it tails its tasks."""

    worker_id: str
    incarnation: str
    pool: str
    slots: int = Field(ge=0, description="Tasks that it can take at once in all")
    code_version: str


@message(outcome="requested")
class ReportTaskStarted(Message):
    run_id: str
    task: TaskRef


@message(outcome="requested")
class ReportTaskAlive(Message):
    """The attempt still works: its lease is extended."""

    run_id: str
    task: TaskRef
    sequence: int


@message(outcome="requested")
class ReportTaskSucceeded(Message):
    run_id: str
    task: TaskRef
    metrics: StageMetrics
    inputs: tuple[InputFile, ...] = ()
    outputs: tuple[StagedOutput, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    reconciliations: tuple[Reconciliation, ...] = ()
    publication: Publication | None = None


@message(outcome="requested")
class ReportTaskFailed(Message):
    run_id: str
    task: TaskRef
    error_type: str
    error_message: str
    retriable: bool
    metrics: StageMetrics
    inputs: tuple[InputFile, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    reconciliations: tuple[Reconciliation, ...] = ()


# --- events -----------------------------------------------------------------------------------------------------------------

RUN_FACTS = (
    "plan.pipeline",
    "plan.environment",
    "plan.manifest_version",
    "plan.manifest_digest",
    "plan.contract.name",
    "plan.contract.version",
    "plan.data_partitions",
    "plan.rerun_of",
    "plan.root_run",
    "plan_digest",
)
TASK_FACTS = ("task.stage", "task.data_partition", "task.attempt", "task.worker_id")
TOTALS_FACTS = ("totals.records_in", "totals.records_out", "totals.dead_lettered", "totals.duration_ms", "totals.reconciled")


class RunTotals(Part):
    """A run in figures. `error_rate` = dead-lettered / read, as a decimal string with six places."""

    records_in: int
    records_out: int
    dead_lettered: int
    error_rate: str
    duration_ms: int = Field(description="From RunStarted to the end, by broker time")
    reconciled: bool | None = Field(default=None, description="None when nothing was reconciled before the end")
    reconciliations: tuple[Reconciliation, ...] = ()


@message(subject=("run", "run_id"), facts=RUN_FACTS)
class RunQueued(Message):
    """A run waits for a slot of its pool."""

    run_id: str
    pool: str
    plan: PlanSummary
    plan_digest: Digest
    bodies: Bodies


@message(subject=("run", "run_id"), facts=("code",), outcome="refused")
class RunRefused(Message):
    """Execution cannot take what was asked for this run."""

    run_id: str
    code: str
    detail: str


@message(subject=("run", "run_id"))
class RunStarted(Message):
    """The first task of a run was dispatched."""

    run_id: str


@message(subject=("run", "run_id"), facts=TASK_FACTS)
class TaskDispatched(Message):
    """A free slot got an attempt. The lease runs from here."""

    run_id: str
    task: TaskRef
    lease_until: datetime
    purpose: Literal["execute", "fence"] = Field(default="execute", description="`fence`: to close a publication, not to work")


@message(subject=("run", "run_id"), facts=("data_partition", "ticket.number", "ticket.fence", "ticket.table"))
class PublishTicketGranted(Message):
    """An attempt may publish under this number; every smaller one is fenced."""

    run_id: str
    data_partition: str
    nonce: str
    ticket: PublishTicket


@message(subject=("run", "run_id"), facts=TASK_FACTS)
class TaskStarted(Message):
    run_id: str
    task: TaskRef
    lease_until: datetime


@message(subject=("run", "run_id"), facts=TASK_FACTS)
class TaskProgressed(Message):
    """The attempt is alive; its lease is extended."""

    run_id: str
    task: TaskRef
    lease_until: datetime


@message(
    subject=("run", "run_id"),
    facts=(*TASK_FACTS, "metrics.records_in", "metrics.records_out", "metrics.dead_lettered", "inputs", "outputs", "checks"),
)
class TaskSucceeded(Message):
    run_id: str
    task: TaskRef
    metrics: StageMetrics
    inputs: tuple[InputFile, ...] = ()
    outputs: tuple[StagedOutput, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    reconciliations: tuple[Reconciliation, ...] = ()
    worker_free: bool = True


@message(
    subject=("run", "run_id"),
    facts=(*TASK_FACTS, "error_type", "metrics.records_in", "metrics.dead_lettered", "inputs", "checks", "reconciliations"),
    outcome="failed",
)
class TaskFailed(Message):
    run_id: str
    task: TaskRef
    error_type: str
    error_message: str
    retriable: bool
    metrics: StageMetrics
    inputs: tuple[InputFile, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    reconciliations: tuple[Reconciliation, ...] = ()


@message(subject=("run", "run_id"), facts=("stage", "data_partition", "next_attempt"))
class TaskRetryScheduled(Message):
    """Another attempt will be dispatched, not before this time."""

    run_id: str
    stage: str
    data_partition: str
    next_attempt: int
    not_before: datetime
    reason: str


@message(subject=("run", "run_id"), facts=TASK_FACTS, outcome="failed")
class TaskLeaseExpired(Message):
    """Nothing was heard of an attempt for the length of its lease; its worker gets nothing more until it announces itself."""

    run_id: str
    task: TaskRef


@message(
    subject=("run", "run_id"),
    facts=(
        "publication.table",
        "publication.data_partition",
        "publication.delta_version",
        "publication.ticket",
        "publication.files_digest",
        "publication.records",
        "reconciliations",
    ),
)
class DataPartitionPublished(Message):
    """A data partition of a table is what this run made it."""

    run_id: str
    publication: Publication
    reconciliations: tuple[Reconciliation, ...] = ()


@message(subject=("run", "run_id"), facts=("reason",))
class RunCancelling(Message):
    """No new task of this run starts; the ones under way are interrupted and fenced."""

    run_id: str
    reason: str


@message(subject=("run", "run_id"), facts=(*RUN_FACTS, *TOTALS_FACTS))
class RunSucceeded(Message):
    """Everything of the plan is published."""

    run_id: str
    plan: PlanSummary
    plan_digest: Digest
    totals: RunTotals


@message(subject=("run", "run_id"), facts=(*RUN_FACTS, *TOTALS_FACTS, "stage", "error_type"), outcome="failed")
class RunFailed(Message):
    """A stage failed for good. What was published before, if anything, is in the data-partition events."""

    run_id: str
    plan: PlanSummary
    plan_digest: Digest
    totals: RunTotals
    stage: str
    error_type: str
    error_message: str


@message(subject=("run", "run_id"), facts=(*RUN_FACTS, "reason"))
class RunCancelled(Message):
    run_id: str
    plan: PlanSummary
    plan_digest: Digest
    totals: RunTotals
    reason: str


@message(subject=("worker", "worker_id"), facts=("incarnation", "slots", "code_version"))
class WorkerAnnounced(Message):
    """A worker's slots may be filled."""

    worker_id: str
    incarnation: str
    pool: str
    slots: int
    code_version: str


@message(subject=("run", "run_id"), facts=("code",), outcome="refused")
class ReportIgnored(Message):
    """A report of an attempt that is not, or no longer, the current one."""

    run_id: str
    task: TaskRef
    code: str
    detail: str


# --- to and from workers ----------------------------------------------------------------------------------------------------


@message()
class RunTask(Message):
    """Do this attempt, and report with its nonce."""

    run_id: str
    task: TaskRef
    plan: PlanSummary
    plan_digest: Digest
    bodies: Bodies
    inputs: tuple[StagedOutput, ...] = Field(description="What the stages before left in staging")
    source_inputs: tuple[InputFile, ...] = Field(default=(), description="Files that the stages before read")
    totals_so_far: StageMetrics = StageMetrics()
    ticket: PublishTicket | None = None
    lease_seconds: int
    purpose: Literal["execute", "fence"] = Field(
        default="execute",
        description="`fence`: publish nothing, commit the empty fence `ticket.number`, report the publication if an older one had won",
    )


@message()
class InterruptTask(Message):
    """Stop this attempt; nothing of it is wanted."""

    run_id: str
    task: TaskRef
    reason: str


@message(subject=("run", "run_id"))
class RunLogged(Message):
    """One log line of a stage."""

    run_id: str
    stage: str
    data_partition: str
    attempt: int
    worker_id: str
    level: Literal["debug", "info", "warning", "error"]
    event: str
    error_type: str | None = None
    fields: dict[str, Any] = Field(default_factory=dict)
    sequence: int = Field(description="Rises within an attempt")


class SourcePosition(Part):
    """Where a record stood in its source: line counts from 1, the header included."""

    path: str
    line: int | None = None


@message(subject=("run", "run_id"))
class RecordDeadLettered(Message):
    """A record that a stage could not take."""

    entry_id: str
    run_id: str
    pipeline: str
    stage: str
    data_partition: str
    attempt: int
    error_type: str
    reason: str
    source: SourcePosition
    payload: str = Field(description="The record as it stood, cut at 4,096 characters")
