"""The life of runs: what execution decides."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from .message import Message, Part, message
from .pipelines import Digest, Environment, PlanSummary
from .work import Bodies, CheckResult, InputFile, Publication, PublishTicket, Reconciliation, StagedOutput, StageMetrics, TaskRef

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


@message(subject=("run", "run_id"), facts=("pipeline", "environment", "data_partition", "kind", "dataset", "expected", "actual"))
class DriftDetected(Message):
    """Data is not what it used to be, or what its contract says. It stops nothing: checks and reconciliation do that."""

    run_id: str = Field(description="The run that met it")
    pipeline: str = Field(description="Its pipeline")
    environment: Environment = Field(description="Where it ran")
    data_partition: str = Field(description="A key of the manifest's partitioning, as 2025-10-04")
    kind: Literal["schema", "volume"] = Field(
        description="`schema`: other columns than the contract's; `volume`: far more or fewer records"
    )
    dataset: str = Field(description="The source")
    expected: str = Field(description="For people: the contract's columns, or the usual number of records")
    actual: str = Field(description="For people: what came")
