"""What must be remembered to tell changes whole: runs that have not ended and requests that nobody has decided.

Each is fed by one partition of one log only, so what is known at a record is the same at every reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from barecount_contracts import (
    ApprovalRejected,
    ApprovalRequested,
    ContractRef,
    Message,
    PlanSummary,
    Position,
    ReplayApproved,
    RunCancelled,
    RunFailed,
    RunQueued,
    RunRefused,
    RunSucceeded,
)
from barecount_contracts.pipelines import Environment
from immutables import Map

Key = tuple[str, str]
"""(tenant, id): two tenants may call their runs the same."""
Positions = Mapping[tuple[str, int], int]
"""(topic, partition) -> next offset."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a change carries of the plan that it belongs to."""

    pipeline: str
    environment: Environment
    manifest_version: int
    contract: ContractRef
    data_partitions: tuple[str, ...]
    rerun_of: str | None

    @classmethod
    def of(cls, plan: PlanSummary) -> Facts:
        return cls(plan.pipeline, plan.environment, plan.manifest_version, plan.contract, plan.data_partitions, plan.rerun_of)


@dataclass(frozen=True, slots=True)
class Open:
    """Facts, and the record that brought them: from there the log must be read again after a take-over."""

    facts: Facts
    since: Position


@dataclass(frozen=True, slots=True)
class Known:
    """Immutable; a take-over rebuilds it from the logs."""

    runs: Map[Key, Open] = field(default_factory=Map)
    requests: Map[Key, Open] = field(default_factory=Map)

    def run(self, tenant: str, run_id: str) -> Facts | None:
        found = self.runs.get((tenant, run_id))
        return None if found is None else found.facts

    def request(self, tenant: str, request_id: str) -> Facts | None:
        found = self.requests.get((tenant, request_id))
        return None if found is None else found.facts


def learn(known: Known, tenant: str, payload: Message, at: Position) -> Known:
    """One record further, whose change has been told. Total: what opens or ends nothing changes nothing."""
    match payload:
        case RunQueued():
            return replace(known, runs=known.runs.set((tenant, payload.run_id), Open(Facts.of(payload.plan), at)))
        case RunSucceeded() | RunFailed() | RunCancelled() | RunRefused():
            return replace(known, runs=_without(known.runs, (tenant, payload.run_id)))
        case ApprovalRequested():
            return replace(known, requests=known.requests.set((tenant, payload.request_id), Open(Facts.of(payload.plan), at)))
        case ReplayApproved() | ApprovalRejected():
            return replace(known, requests=_without(known.requests, (tenant, payload.request_id)))
        case _:
            return known


def read_from(known: Known, positions: Positions) -> dict[tuple[str, int], int]:
    """From where each source partition must be read again to know the same at `positions`."""
    oldest = dict(positions)
    for one in (*known.runs.values(), *known.requests.values()):
        where = one.since.topic, one.since.partition
        oldest[where] = min(oldest.get(where, one.since.offset), one.since.offset)
    return oldest


def _without(held: Map[Key, Open], key: Key) -> Map[Key, Open]:
    return held.delete(key) if key in held else held
