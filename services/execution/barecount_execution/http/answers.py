"""The shapes of execution's answers, for /openapi.json. Times are UTC; money and rates are decimal strings."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from barecount_contracts import CheckResult, Environment, InputFile, PlanSummary, Reconciliation, RunTotals, StageMetrics
from pydantic import BaseModel, Field

RunStatus = Literal["requested", "queued", "running", "cancelling", "succeeded", "failed", "cancelled", "refused"]
StageKind = Literal["read", "check", "sql", "publish"]


class Page(BaseModel):
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last")


class RunError(BaseModel):
    stage: str | None
    error_type: str = Field(description="A name to filter by, as `reconciliation-failed`")
    message: str | None


class RunItem(BaseModel):
    run_id: str
    status: RunStatus
    pipeline: str | None
    environment: Environment | None
    mode: Literal["run", "replay"] | None
    data_partitions: list[str]
    rerun_of: str | None = Field(description="The run that this one replays")
    root_run: str | None = Field(description="The first run of a chain of replays")
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    error: RunError | None
    totals: RunTotals | None = Field(description="After the end")


class AttemptError(BaseModel):
    error_type: str
    message: str | None
    retriable: bool | None


class Attempt(BaseModel):
    attempt: int
    purpose: Literal["execute", "fence"] = Field(description="`fence`: to close a publication, not to work")
    status: str
    worker_id: str
    dispatched_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    lease_until: datetime | None = Field(description="While it works: when it is given up unless it is heard of")
    retry_at: datetime | None
    metrics: StageMetrics | None
    checks: list[CheckResult]
    inputs: list[InputFile]
    ticket: int | None = Field(description="The number under which it may publish")
    error: AttemptError | None


class Stage(BaseModel):
    stage: str
    kind: StageKind
    data_partition: str
    status: str = Field(description="`waiting` before the first attempt, then the newest one's")
    attempts: list[Attempt]


class Waiting(BaseModel):
    """Which limit holds the run."""

    limit: Literal["admission", "workers", "backoff", "slots"]
    detail: str
    pool: str | None = None
    not_before: datetime | None = None
    slots: int | None = None
    held_by: list[str] | None = Field(default=None, description="Your tenant's runs that hold slots")
    workers: list[str] | None = None


class Drift(BaseModel):
    """Data is not what it used to be, or what its contract says. It stops nothing."""

    kind: Literal["schema", "volume"]
    dataset: str = Field(description="The source")
    data_partition: str
    expected: str = Field(description="The contract whose columns it should have, or the usual number of records")
    actual: str = Field(description="What came")
    detected_at: datetime


class RunShown(RunItem):
    plan: PlanSummary | None
    plan_digest: str | None
    requested_at: datetime | None
    requested_by: str | None
    pool: str | None
    correlation: str = Field(description="The id of the command with which the run began")
    cancel_reason: str | None
    stages: list[Stage]
    waiting_for: Waiting | None
    drift: list[Drift]


class StageFigures(StageMetrics):
    stage: str
    kind: StageKind | None
    data_partition: str
    attempt: int
    checks: list[CheckResult]


class Metrics(BaseModel):
    run_id: str
    status: RunStatus
    final: bool = Field(description="Whether the run has ended; before, these are its closed attempts'")
    records_in: int
    records_out: int
    dead_lettered: int
    error_rate: str = Field(description="dead-lettered / read, six places")
    duration_ms: int | None = Field(description="After the end")
    reconciled: bool | None = Field(default=None, description="Absent or null when nothing was reconciled")
    reconciliations: list[Reconciliation] = []
    stages: list[StageFigures]


class Published(BaseModel):
    table: str
    ticket: int
    delta_version: int
    files_digest: str
    records: int
    already: bool = Field(description="An earlier attempt of the run had committed; this one only found it")
    reconciliations: list[Reconciliation]
    published_at: datetime


class RunPartition(BaseModel):
    data_partition: str
    status: Literal["published", "not-published", "pending"]
    publications: list[Published]


class LogLine(BaseModel):
    time: datetime
    stage: str
    data_partition: str
    attempt: int
    worker_id: str
    level: Literal["debug", "info", "warning", "error"]
    event: str
    error_type: str | None
    fields: dict[str, Any]
    sequence: int
    position: int


class Source(BaseModel):
    path: str
    line: int | None = Field(description="From 1, the header included")


class DeadLetter(BaseModel):
    entry_id: str
    run_id: str
    pipeline: str
    stage: str
    data_partition: str
    attempt: int
    error_type: str
    reason: str
    source: Source
    payload: str = Field(description="The record as it stood, cut at 4,096 characters")
    time: datetime


class Worker(BaseModel):
    worker_id: str
    incarnation: str
    pool: str
    status: Literal["announced", "lost"] = Field(description="`lost`: a lease expired; it gets nothing until it announces itself")
    slots: int
    busy: int
    code_version: str
    announced_at: datetime | None
    lost_at: datetime | None


class Verdict(BaseModel):
    pipeline: str
    environment: Environment
    manifest_version: int
    window: str = Field(description="As the manifest has it: 30d")
    since: datetime
    until: datetime
    slo: str
    target: str = Field(description="Ratio of good events promised")
    op: Literal["lte", "gte", "lt", "gt"] | None
    value: str | None
    good: int
    total: int
    ratio: str
    kept: bool = Field(description="True too when nothing happened")


class Runs(Page):
    items: list[RunItem]


class RunPartitions(Page):
    items: list[RunPartition]


class LogLines(Page):
    items: list[LogLine]


class DeadLetters(Page):
    items: list[DeadLetter]


class Workers(Page):
    items: list[Worker]


class Slos(Page):
    items: list[Verdict]
