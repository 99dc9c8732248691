"""What execution is told, by policies and by workers; what workers are told, log and set aside."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .message import Message, Part, message
from .pipelines import Digest, PlanSummary
from .work import Bodies, CheckResult, InputFile, Publication, PublishTicket, Reconciliation, StagedOutput, StageMetrics, TaskRef

# --- to execution -----------------------------------------------------------------------------------------------------------


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
