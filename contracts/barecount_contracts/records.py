"""Evidence, lineage and answered calls: what the services write about what happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from .envelope import Position
from .message import Message, Outcome, Part, message


class Subject(Part):
    """What a record is about."""

    kind: str = Field(description="As run, pipeline, call")
    id: str = Field(description="Its name within the tenant")


class EvidenceRecord(Part):
    """A leaf of the ledger: who did what to which thing, when, with which outcome, and which log record says so.

    As a leaf it is canonical JSON (RFC 8785) of this model without absent fields.
    """

    kind: Literal["record"] = Field(default="record", description="Tells it from a coverage leaf")
    v: Literal[1] = Field(default=1, description="Of this form")
    type: str = Field(description="The source record's type")
    version: int = Field(description="And its version")
    tenant: str = Field(description="Whose it is")
    principal: str | None = Field(default=None, description="Pseudonym of who asked")
    at: datetime = Field(description="Time of the source record")
    outcome: Outcome = Field(description="How it reads for an auditor")
    subject: Subject | None = Field(default=None, description="What it is about")
    facts: dict[str, Any] = Field(default_factory=dict, description="Fields of the source record, by dotted name")
    digest: str = Field(description="sha256 of the source record's value")
    trace_id: str | None = Field(default=None, description="W3C trace")
    source: Position = Field(description="The log record that says so")
    cause: Position | None = Field(default=None, description="The inbox record that it answers")
    origin: Position | None = Field(default=None, description="The log record that the cause was derived from, when a policy appended it")
    command_id: UUID | None = Field(default=None, description="The command that it answers")
    correlation: UUID = Field(description="The id of the command with which the chain began")


class CoveredRange(Part):
    """Source records [from, next) of one partition are all in the ledger: `count` of them, hash-chained in order."""

    topic: str = Field(description="The source")
    partition: int = Field(description="Its partition")
    start: int = Field(description="First offset covered by this batch")
    next: int = Field(description="First offset not covered; control records count as covered")
    count: int = Field(description="Records in the range, control records aside")
    chain: str = Field(description="hex; c' = SHA-256(0x02 || c || SHA-256(value)) over the partition's records since the ledger began")


class CoverageLeaf(Part):
    """The leaf that closes a batch: the source ranges that the ledger now covers without a gap."""

    kind: Literal["coverage"] = Field(default="coverage", description="Tells it from a record")
    v: Literal[1] = Field(default=1, description="Of this form")
    ranges: tuple[CoveredRange, ...] = Field(description="At most one a source partition")


@message()
class LedgerBatch(Message):
    """Leaves of the ledger in order; the last one is the coverage leaf."""

    first_index: int = Field(description="The index of the first leaf")
    leaves: tuple[str, ...] = Field(description="Each a leaf's canonical JSON")


@message()
class LedgerCheckpoint(Message):
    """A signed tree head over leaves that the log already holds (C2SP tlog-checkpoint in a signed note)."""

    size: int = Field(description="Leaves of the tree")
    root: str = Field(description="hex")
    note: str = Field(description="The signed note, as text")


@message(subject=("run", "run_id"), facts=("event_type", "job", "inputs", "outputs"))
class LineageEmitted(Message):
    """An OpenLineage event, whole, with what it names."""

    run_id: str = Field(description="The run, unique within its tenant")
    event_type: str = Field(description="START, RUNNING, COMPLETE, FAIL or ABORT")
    job: str = Field(description="The OpenLineage job, <namespace>/<name>")
    inputs: tuple[str, ...] = Field(default=(), description="Datasets read, <namespace>:<name>")
    outputs: tuple[str, ...] = Field(default=(), description="Datasets written, <namespace>:<name>")
    event: dict[str, Any] = Field(description="OpenLineage 2-0-2 RunEvent")


@message(
    subject=("call", "request_id"),
    facts=("service", "method", "route", "status", "action", "problem_code", "request_digest", "count"),
)
class ApiCalled(Message):
    """An HTTP call that a service answered. The envelope names tenant and principal."""

    request_id: str = Field(description="As X-Request-Id told the caller")
    service: str = Field(description="Which answered")
    method: str = Field(description="As the call had it")
    route: str = Field(description="The route's template, or `unknown`")
    path: str = Field(description="As the call had it, cut at 1,024 characters")
    status: int = Field(description="As it was answered")
    action: str | None = Field(default=None, description="The permission that was asked for")
    problem_code: str | None = Field(default=None, description="A row of problems.yaml")
    command_id: UUID | None = Field(default=None, description="The command that the call made")
    request_digest: str | None = Field(default=None, description="sha256 of the request body")
    query: dict[str, str] = Field(default_factory=dict, description="Its parameters; secrets are starred out")
    duration_ms: int = Field(description="Until the answer was ready")
    received: datetime = Field(description="The service's clock")
    count: int = Field(default=1, description="More than 1 when a flood of unauthenticated calls is counted as one record")
    phase: Literal["answered", "opened", "closed"] = Field(default="answered", description="A stream has two records")
