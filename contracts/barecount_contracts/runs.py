"""The life of runs: what execution is told and what it decides; tasks addressed to workers; what workers log and set aside."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from .message import Message, Part, message
from .pipelines import Digest, PlanSummary


class ContractBody(Part):
    """A data contract with its document, as a worker needs it."""

    name: str = Field(description="The contract's name")
    version: str = Field(description="Its version")
    digest: Digest = Field(description="sha256 of the canonical JSON (RFC 8785)")
    document: dict[str, Any] = Field(description="An Open Data Contract Standard document")


class Bodies(Part):
    """What a plan's digests stand for: a worker needs nothing else."""

    manifest: dict[str, Any] = Field(description="The effective manifest")
    contracts: tuple[ContractBody, ...] = Field(description="Every contract that the manifest names")


class TaskRef(Part):
    """One attempt at one stage of one data partition."""

    stage: str = Field(description="A stage of the manifest")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    attempt: int = Field(ge=1, description="Counts from 1 for each stage of a data partition")
    nonce: str = Field(description="Names this attempt; a report with another nonce is refused")
    worker_id: str = Field(description="The worker: its tasks stand under this key")
    incarnation: str = Field(description="Names one life of the worker's process")


class PublishTicket(Part):
    """The right to publish one data partition of a table, and the fence that takes it from everybody before.

    Numbers rise per table and data partition over all runs and attempts. `fence` is committed empty first when `superseded` is
    not empty; `number` is committed with the data (Delta application transactions).
    """

    app_id: str = Field(description="<tenant>/<environment>/<pipeline>/<data partition>")
    table: str = Field(description="The table, as the manifest's sink names it: below <lake>/<tenant>/<environment>")
    number: int = Field(description="Under which the data is committed")
    fence: int = Field(description="Committed empty first when `superseded` is not empty")
    superseded: tuple[int, ...] = Field(default=(), description="Numbers of this run's earlier attempts that may have published")


class StagedOutput(Part):
    """What a stage left in staging, by name."""

    name: str = Field(description="The name that stages know it by")
    files: tuple[str, ...] = Field(description="Paths relative to the lake")
    records: int = Field(description="Rows")
    digest: Digest = Field(description="sha256 over the files")


class StageMetrics(Part):
    """What one attempt counted."""

    records_in: int = Field(default=0, description="Rows read")
    records_out: int = Field(default=0, description="Rows given")
    dead_lettered: int = Field(default=0, description="Records set aside")
    bytes_out: int = Field(default=0, description="Bytes written")
    duration_ms: int = Field(default=0, description="Wall-clock time of the attempt")


class CheckResult(Part):
    """One contract or quality rule, checked."""

    name: str = Field(description="The rule")
    holds: bool = Field(description="Whether the rule holds")
    failed_records: int = Field(default=0, description="Rows that break it")
    detail: str = Field(default="", description="What was found")


class Reconciliation(Part):
    """One total compared; money as decimal strings."""

    name: str = Field(description="The rule")
    expected: str = Field(description="The control total")
    actual: str = Field(description="What was computed")
    difference: str = Field(description="actual - expected")
    holds: bool = Field(description="Whether the difference is within the rule's tolerance")


class Publication(Part):
    """A commit in a Delta table's log."""

    table: str = Field(description="The table, as the manifest's sink names it: below <lake>/<tenant>/<environment>")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    delta_version: int = Field(description="The version of the Delta table that the commit made")
    ticket: int = Field(description="The number under which it was published")
    files_digest: Digest = Field(description="sha256 over the added files")
    records: int = Field(description="Rows")
    already: bool = Field(default=False, description="An earlier attempt of this run had committed; this one only found it")


class InputFile(Part):
    """A file that a stage read, as it was."""

    path: str = Field(description="Relative to the lake")
    digest: Digest = Field(description="sha256 of the file")
    bytes: int = Field(description="Its size")


# --- commands ---------------------------------------------------------------------------------------------------------------


@message(outcome="requested")
class AdmitRun(Message):
    """By policy: a run that the command service admitted."""

    run_id: str = Field(description="The run, unique within its tenant")
    pool: str = Field(description="The pool of workers that the pipeline belongs to")
    plan: PlanSummary = Field(description="What runs, resolved")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")
    bodies: Bodies = Field(description="What the plan's digests stand for")


@message(outcome="requested")
class StopRun(Message):
    """By policy: somebody wants a run to end."""

    run_id: str = Field(description="The run, unique within its tenant")
    reason: str = Field(description="Why, in the words of whoever decided")


@message(outcome="requested")
class AnnounceWorker(Message):
    """A worker says which slots are free, after it has fixed the position from which it tails its tasks."""

    worker_id: str = Field(description="The worker: its tasks stand under this key")
    incarnation: str = Field(description="Names one life of the worker's process")
    pool: str = Field(description="The pool of workers that the pipeline belongs to")
    slots: int = Field(ge=0, description="Tasks that it can take at once in all")
    code_version: str = Field(description="Of the worker's release")


@message(outcome="requested")
class ReportTaskStarted(Message):
    """The worker has begun with the attempt."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")


@message(outcome="requested")
class ReportTaskAlive(Message):
    """The attempt still works: its lease is extended."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")
    sequence: int = Field(description="Rises within an attempt")


@message(outcome="requested")
class ReportTaskSucceeded(Message):
    """The attempt has done its stage."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")
    metrics: StageMetrics = Field(description="What the attempt counted")
    inputs: tuple[InputFile, ...] = Field(default=(), description="Files that were read, as they were")
    outputs: tuple[StagedOutput, ...] = Field(default=(), description="What was left in staging for the next stages")
    checks: tuple[CheckResult, ...] = Field(default=(), description="Contract and quality rules, each with its verdict")
    reconciliations: tuple[Reconciliation, ...] = Field(default=(), description="Totals compared with the source's control totals")
    publication: Publication | None = Field(default=None, description="Of a stage that publishes: the commit")


@message(outcome="requested")
class ReportTaskFailed(Message):
    """The attempt has ended without doing its stage."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")
    error_type: str = Field(description="A name to filter by, as reconciliation-failed")
    error_message: str = Field(description="What happened, for people")
    retriable: bool = Field(description="Whether another attempt could succeed")
    metrics: StageMetrics = Field(description="What the attempt counted")
    inputs: tuple[InputFile, ...] = Field(default=(), description="Files that were read, as they were")
    checks: tuple[CheckResult, ...] = Field(default=(), description="Contract and quality rules, each with its verdict")
    reconciliations: tuple[Reconciliation, ...] = Field(default=(), description="Totals compared with the source's control totals")


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

    records_in: int = Field(description="Records read from the sources")
    records_out: int = Field(description="Rows published")
    dead_lettered: int = Field(description="Records set aside")
    error_rate: str = Field(description="dead-lettered / read, six places")
    duration_ms: int = Field(description="From RunStarted to the end, by broker time")
    reconciled: bool | None = Field(default=None, description="None when nothing was reconciled before the end")
    reconciliations: tuple[Reconciliation, ...] = Field(default=(), description="Each total compared")


@message(subject=("run", "run_id"), facts=RUN_FACTS)
class RunQueued(Message):
    """A run waits for a slot of its pool."""

    run_id: str = Field(description="The run, unique within its tenant")
    pool: str = Field(description="The pool of workers that the pipeline belongs to")
    plan: PlanSummary = Field(description="What runs, resolved")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")
    bodies: Bodies = Field(description="What the plan's digests stand for")


@message(subject=("run", "run_id"), facts=("code",), outcome="refused")
class RunRefused(Message):
    """Execution cannot take what was asked for this run."""

    run_id: str = Field(description="The run, unique within its tenant")
    code: str = Field(description="A row of problems.yaml")
    detail: str = Field(description="What happened, to which thing, and what to do now")


@message(subject=("run", "run_id"))
class RunStarted(Message):
    """The first task of a run was dispatched."""

    run_id: str = Field(description="The run, unique within its tenant")


@message(subject=("run", "run_id"), facts=TASK_FACTS)
class TaskDispatched(Message):
    """A free slot got an attempt. The lease runs from here."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")
    lease_until: datetime = Field(description="Unless it is heard of before, the attempt is given up then; broker time")
    purpose: Literal["execute", "fence"] = Field(default="execute", description="`fence`: to close a publication, not to work")


@message(subject=("run", "run_id"), facts=("data_partition", "ticket.number", "ticket.fence", "ticket.table"))
class PublishTicketGranted(Message):
    """An attempt may publish under this number; every smaller one is fenced."""

    run_id: str = Field(description="The run, unique within its tenant")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    nonce: str = Field(description="Of the attempt that may publish")
    ticket: PublishTicket = Field(description="The right to publish")


@message(subject=("run", "run_id"), facts=TASK_FACTS)
class TaskStarted(Message):
    """The worker has begun with the attempt; its lease is extended."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")
    lease_until: datetime = Field(description="Unless it is heard of before, the attempt is given up then; broker time")


@message(subject=("run", "run_id"), facts=TASK_FACTS)
class TaskProgressed(Message):
    """The attempt is alive; its lease is extended."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")
    lease_until: datetime = Field(description="Unless it is heard of before, the attempt is given up then; broker time")


@message(
    subject=("run", "run_id"),
    facts=(*TASK_FACTS, "metrics.records_in", "metrics.records_out", "metrics.dead_lettered", "inputs", "outputs", "checks"),
)
class TaskSucceeded(Message):
    """A stage is done."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")
    metrics: StageMetrics = Field(description="What the attempt counted")
    inputs: tuple[InputFile, ...] = Field(default=(), description="Files that were read, as they were")
    outputs: tuple[StagedOutput, ...] = Field(default=(), description="What was left in staging for the next stages")
    checks: tuple[CheckResult, ...] = Field(default=(), description="Contract and quality rules, each with its verdict")
    reconciliations: tuple[Reconciliation, ...] = Field(default=(), description="Totals compared with the source's control totals")


@message(
    subject=("run", "run_id"),
    facts=(*TASK_FACTS, "error_type", "metrics.records_in", "metrics.dead_lettered", "inputs", "checks", "reconciliations"),
    outcome="failed",
)
class TaskFailed(Message):
    """An attempt has failed. Whether another follows is the next event's word."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")
    error_type: str = Field(description="A name to filter by, as reconciliation-failed")
    error_message: str = Field(description="What happened, for people")
    retriable: bool = Field(description="Whether another attempt could succeed")
    metrics: StageMetrics = Field(description="What the attempt counted")
    inputs: tuple[InputFile, ...] = Field(default=(), description="Files that were read, as they were")
    checks: tuple[CheckResult, ...] = Field(default=(), description="Contract and quality rules, each with its verdict")
    reconciliations: tuple[Reconciliation, ...] = Field(default=(), description="Totals compared with the source's control totals")


@message(subject=("run", "run_id"), facts=("stage", "data_partition", "next_attempt"))
class TaskRetryScheduled(Message):
    """Another attempt will be dispatched, not before this time."""

    run_id: str = Field(description="The run, unique within its tenant")
    stage: str = Field(description="A stage of the manifest")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    next_attempt: int = Field(description="Its number")
    not_before: datetime = Field(description="Broker time")
    reason: str = Field(description="Why the attempt before did not succeed")


@message(subject=("run", "run_id"), facts=TASK_FACTS, outcome="failed")
class TaskLeaseExpired(Message):
    """Nothing was heard of an attempt for the length of its lease; its worker gets nothing more until it announces itself."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")


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

    run_id: str = Field(description="The run, unique within its tenant")
    publication: Publication = Field(description="The commit that made it so")
    reconciliations: tuple[Reconciliation, ...] = Field(default=(), description="Totals compared with the source's control totals")


@message(subject=("run", "run_id"), facts=("reason",))
class RunCancelling(Message):
    """No new task of this run starts; the ones under way are interrupted and fenced."""

    run_id: str = Field(description="The run, unique within its tenant")
    reason: str = Field(description="Why, in the words of whoever decided")


@message(subject=("run", "run_id"), facts=(*RUN_FACTS, *TOTALS_FACTS))
class RunSucceeded(Message):
    """Everything of the plan is published."""

    run_id: str = Field(description="The run, unique within its tenant")
    plan: PlanSummary = Field(description="What runs, resolved")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")
    totals: RunTotals = Field(description="The run in figures")


@message(subject=("run", "run_id"), facts=(*RUN_FACTS, *TOTALS_FACTS, "stage", "error_type"), outcome="failed")
class RunFailed(Message):
    """A stage failed for good. What was published before, if anything, is in the data-partition events."""

    run_id: str = Field(description="The run, unique within its tenant")
    plan: PlanSummary = Field(description="What runs, resolved")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")
    totals: RunTotals = Field(description="The run in figures")
    stage: str = Field(description="A stage of the manifest")
    error_type: str = Field(description="A name to filter by, as reconciliation-failed")
    error_message: str = Field(description="What happened, for people")


@message(subject=("run", "run_id"), facts=(*RUN_FACTS, "reason"))
class RunCancelled(Message):
    """A run has ended by cancellation. What it had published before, if anything, is in the data-partition events."""

    run_id: str = Field(description="The run, unique within its tenant")
    plan: PlanSummary = Field(description="What runs, resolved")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")
    totals: RunTotals = Field(description="The run in figures")
    reason: str = Field(description="Why, in the words of whoever decided")


@message(subject=("worker", "worker_id"), facts=("incarnation", "slots", "code_version"))
class WorkerAnnounced(Message):
    """A worker's slots may be filled."""

    worker_id: str = Field(description="The worker: its tasks stand under this key")
    incarnation: str = Field(description="Names one life of the worker's process")
    pool: str = Field(description="The pool of workers that the pipeline belongs to")
    slots: int = Field(description="Tasks that it can take at once")
    code_version: str = Field(description="Of the worker's release")


@message(subject=("run", "run_id"), facts=("code",), outcome="refused")
class ReportIgnored(Message):
    """A report of an attempt that is not, or no longer, the current one."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")
    code: str = Field(description="A row of problems.yaml")
    detail: str = Field(description="What happened, to which thing, and what to do now")


# --- to and from workers ----------------------------------------------------------------------------------------------------


@message()
class RunTask(Message):
    """Do this attempt, and report with its nonce."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")
    plan: PlanSummary = Field(description="What runs, resolved")
    plan_digest: Digest = Field(description="sha256 of the plan's canonical JSON: what an approval binds to")
    bodies: Bodies = Field(description="What the plan's digests stand for")
    inputs: tuple[StagedOutput, ...] = Field(description="What the stages before left in staging")
    source_inputs: tuple[InputFile, ...] = Field(default=(), description="Files that the stages before read")
    totals_so_far: StageMetrics = Field(default=StageMetrics(), description="What the stages before counted")
    ticket: PublishTicket | None = Field(default=None, description="When the stage publishes: the right to")
    lease_seconds: int = Field(description="Report within this time, or the attempt is given up")
    purpose: Literal["execute", "fence"] = Field(
        default="execute",
        description="`fence`: publish nothing, commit the empty fence `ticket.number`, report the publication if an older one had won",
    )


@message()
class InterruptTask(Message):
    """Stop this attempt; nothing of it is wanted."""

    run_id: str = Field(description="The run, unique within its tenant")
    task: TaskRef = Field(description="The attempt")
    reason: str = Field(description="Why, in the words of whoever decided")


@message(subject=("run", "run_id"))
class RunLogged(Message):
    """One log line of a stage."""

    run_id: str = Field(description="The run, unique within its tenant")
    stage: str = Field(description="A stage of the manifest")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    attempt: int = Field(description="Counts from 1 for each stage of a data partition")
    worker_id: str = Field(description="The worker: its tasks stand under this key")
    level: Literal["debug", "info", "warning", "error"] = Field(description="How grave")
    event: str = Field(description="What happened, as a name")
    error_type: str | None = Field(default=None, description="A name to filter by, as reconciliation-failed")
    fields: dict[str, Any] = Field(default_factory=dict, description="What belongs to it")
    sequence: int = Field(description="Rises within an attempt")


class SourcePosition(Part):
    """Where a record stood in its source: line counts from 1, the header included."""

    path: str = Field(description="Relative to the lake")
    line: int | None = Field(default=None, description="From 1, the header included")


@message(subject=("run", "run_id"))
class RecordDeadLettered(Message):
    """A record that a stage could not take."""

    entry_id: str = Field(description="Derived from the record's place, the same in each attempt")
    run_id: str = Field(description="The run, unique within its tenant")
    pipeline: str = Field(description="The pipeline's name")
    stage: str = Field(description="A stage of the manifest")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    attempt: int = Field(description="Counts from 1 for each stage of a data partition")
    error_type: str = Field(description="A name to filter by, as reconciliation-failed")
    reason: str = Field(description="Why it could not be taken")
    source: SourcePosition = Field(description="Where it stood")
    payload: str = Field(description="The record as it stood, cut at 4,096 characters")
