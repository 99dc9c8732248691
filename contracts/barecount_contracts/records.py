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

    kind: str
    id: str


class EvidenceRecord(Part):
    """A leaf of the ledger: who did what to which thing, when, with which outcome, and which log record says so.

    As a leaf it is canonical JSON (RFC 8785) of this model without absent fields.
    """

    kind: Literal["record"] = "record"
    v: Literal[1] = 1
    type: str
    version: int
    tenant: str
    principal: str | None = None
    at: datetime
    outcome: Outcome
    subject: Subject | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
    digest: str = Field(description="sha256 of the source record's value")
    trace_id: str | None = None
    source: Position
    cause: Position | None = None
    origin: Position | None = Field(default=None, description="The log record that the cause was derived from, when a policy appended it")
    command_id: UUID | None = None
    correlation: UUID


class CoveredRange(Part):
    """Source records [from, next) of one partition are all in the ledger: `count` of them, hash-chained in order."""

    topic: str
    partition: int
    start: int = Field(description="First offset covered by this batch")
    next: int = Field(description="First offset not covered; control records count as covered")
    count: int
    chain: str = Field(description="hex; c' = SHA-256(0x02 || c || SHA-256(value)) over the partition's records since the ledger began")


class CoverageLeaf(Part):
    """The leaf that closes a batch: the source ranges that the ledger now covers without a gap."""

    kind: Literal["coverage"] = "coverage"
    v: Literal[1] = 1
    ranges: tuple[CoveredRange, ...]


@message()
class LedgerBatch(Message):
    """Leaves of the ledger in order; the last one is the coverage leaf."""

    first_index: int
    leaves: tuple[str, ...] = Field(description="Each a leaf's canonical JSON")


@message()
class LedgerCheckpoint(Message):
    """A signed tree head over leaves that the log already holds (C2SP tlog-checkpoint in a signed note)."""

    size: int
    root: str = Field(description="hex")
    note: str


@message(subject=("run", "run_id"), facts=("event_type", "job", "inputs", "outputs"))
class LineageEmitted(Message):
    """An OpenLineage event, whole, with what it names."""

    run_id: str
    event_type: str
    job: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    event: dict[str, Any] = Field(description="OpenLineage 2-0-2 RunEvent")


@message(
    subject=("call", "request_id"),
    facts=("service", "method", "route", "status", "action", "problem_code", "request_digest", "count"),
)
class ApiCalled(Message):
    """An HTTP call that a service answered. The envelope names tenant and principal."""

    request_id: str
    service: str
    method: str
    route: str = Field(description="The route's template, or `unknown`")
    path: str
    status: int
    action: str | None = Field(default=None, description="The permission that was asked for")
    problem_code: str | None = None
    command_id: UUID | None = None
    request_digest: str | None = None
    query: dict[str, str] = Field(default_factory=dict)
    duration_ms: int
    received: datetime
    count: int = Field(default=1, description="More than 1 when a flood of unauthenticated calls is counted as one record")
    phase: Literal["answered", "opened", "closed"] = "answered"
