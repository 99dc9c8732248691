"""One attempt at one stage of one data partition: what it is given and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from barecount_contracts import CheckResult, InputFile, Publication, PublishTicket, Reconciliation, StagedOutput, StageMetrics
from barecount_manifest import ContractReference, Manifest


@dataclass(frozen=True, slots=True)
class StageTask:
    """Everything an attempt needs; nothing else is looked up.

    `contracts` are ODCS documents by (name, version). `inputs` are what the stages before left in staging. `ticket` is given to
    publish stages. `facts` go into the Delta commit as they are: correlation id, plan digest, manifest digest.
    """

    tenant: str
    environment: str
    run_id: str
    manifest: Manifest
    contracts: Mapping[tuple[str, str], Mapping[str, Any]]
    stage: str
    data_partition: str
    attempt: int
    nonce: str
    inputs: tuple[StagedOutput, ...] = ()
    ticket: PublishTicket | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    def contract(self, reference: ContractReference) -> Mapping[str, Any]:
        """The document of a contract version; KeyError when the task came without it."""
        return self.contracts[(reference.name, reference.version)]


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage did. `control_totals` are the deliverer's, as decimal text, where the stage read them."""

    metrics: StageMetrics = field(default_factory=StageMetrics)
    inputs: tuple[InputFile, ...] = ()
    outputs: tuple[StagedOutput, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    reconciliations: tuple[Reconciliation, ...] = ()
    control_totals: Mapping[str, str] = field(default_factory=dict)
    publication: Publication | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that a stage could not take. `line` counts from 1, the header included; `payload` is the record's text, cut at 4,096."""

    error_type: str
    reason: str
    stage: str
    path: str
    line: int
    byte_offset: int
    payload: str
