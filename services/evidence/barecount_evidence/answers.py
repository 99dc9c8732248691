"""The shapes of evidence's answers, for /openapi.json. Hashes are hex."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from barecount_contracts import CoveredRange, Outcome, Position, Subject
from pydantic import BaseModel, Field


class Leaf(BaseModel):
    """A leaf of the ledger. A record's members and a coverage leaf's stand side by side; `kind` tells which there are."""

    index: int
    leaf_index: int
    leaf: str = Field(description="The leaf's bytes as text: canonical JSON (RFC 8785)")
    leaf_hash: str = Field(description="SHA-256(0x00 || leaf), RFC 6962")
    kind: Literal["record", "coverage"]
    type: str | None = Field(default=None, description="Of the source record, as `RunFailed`")
    version: int | None = None
    tenant: str | None = None
    principal: str | None = None
    at: datetime | None = None
    outcome: Outcome | None = None
    subject: Subject | None = None
    facts: dict[str, Any] | None = None
    digest: str | None = Field(default=None, description="sha256 of the source record's value")
    trace_id: str | None = None
    source: Position | None = Field(default=None, description="The log record that says so")
    cause: Position | None = None
    origin: Position | None = None
    command_id: UUID | None = None
    correlation: UUID | None = None
    ranges: list[CoveredRange] | None = None


class Leaves(BaseModel):
    items: list[Leaf]
    next_cursor: str | None = Field(description="Send it as `cursor` for older records; null at the end")


class Checkpoint(BaseModel):
    size: int
    root: str
    note: str = Field(description="C2SP tlog-checkpoint in a signed note")


class LogKey(BaseModel):
    origin: str
    vkey: str = Field(description="The key that signs checkpoints, as C2SP signed-note names it")


class LeafProof(Leaf):
    vkey: str = Field(description="The log's name and the key that signs its checkpoints, as C2SP signed-note names it")
    proof: list[str] = Field(description="Inclusion proof, RFC 6962")
    checkpoint: Checkpoint
    tlog_proof: str = Field(description="The same as C2SP tlog-proof")


class Consistency(LogKey):
    old: int = Field(alias="from")
    new: int = Field(alias="to")
    proof: list[str] = Field(description="Consistency proof, RFC 6962")
    checkpoint: Checkpoint


class Link(Leaf):
    proof: list[str] = Field(description="Inclusion proof under the chain's checkpoint")
    parent: int | None = Field(description="The record that led to this one")
    why: str | None = Field(description="How it is known to have led to it")
    relies_on: list[int]


class Chain(LogKey):
    run_id: str
    items: list[Link]
    pending: int = Field(description="Records that no checkpoint covers yet")
    checkpoint: Checkpoint


class Covered(BaseModel):
    topic: str
    partition: int
    next: int = Field(description="First offset not covered")
    count: int
    chain: str
    leaf_index: int


class CoverageShown(BaseModel):
    items: list[Covered]
    next_cursor: str | None
    checkpoint: Checkpoint | None
