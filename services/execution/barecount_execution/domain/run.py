"""A run that has not ended, in one of its phases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from barecount_contracts import Bodies, PlanSummary, RunTotals, StageMetrics
from barecount_manifest import Manifest
from immutables import Map

from .lane import Finished, Halted, Lane, Working

RunKey = tuple[str, str]
"""Tenant and run id: two tenants may choose the same id."""


@dataclass(frozen=True, slots=True)
class Queued:
    """No slot yet."""


@dataclass(frozen=True, slots=True)
class Running:
    started: datetime


@dataclass(frozen=True, slots=True)
class Cancelling:
    """Somebody wants it to end; it ends when nothing is open and no publication is in doubt."""

    started: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Failing:
    """A stage failed for good; it ends when nothing is open and no publication is in doubt. The first failure is the run's."""

    started: datetime
    stage: str
    error_type: str
    error_message: str


Phase = Queued | Running | Cancelling | Failing


@dataclass(frozen=True, slots=True)
class StageOf:
    """What the domain must know of a stage. table: where it publishes, None for other kinds."""

    name: str
    kind: str
    table: str | None = None


@dataclass(frozen=True, slots=True)
class RetryRule:
    """seconds: wait before the second attempt; it doubles each time up to `longest`."""

    attempts: int
    seconds: float
    longest: float

    def backoff(self, failures: int) -> timedelta:
        """The wait after the n-th failure, 1 or more. Without jitter: it is decided once, from the log alone."""
        return timedelta(milliseconds=round(1000 * min(self.longest, self.seconds * 2 ** min(failures - 1, 30))))


@dataclass(frozen=True, slots=True)
class Run:
    """bodies: what the plan's digests stand for, one object for all runs of the same plan digests."""

    tenant: str
    run_id: str
    pool: str
    correlation: UUID
    plan: PlanSummary
    plan_digest: str
    bodies: Bodies
    stages: tuple[StageOf, ...]
    retry: RetryRule
    phase: Phase
    lanes: Map[str, Lane]

    @property
    def key(self) -> RunKey:
        return self.tenant, self.run_id

    @property
    def closing(self) -> bool:
        return isinstance(self.phase, Cancelling | Failing)

    def lane(self, data_partition: str) -> Lane:
        return self.lanes[data_partition]

    def with_lane(self, lane: Lane) -> Run:
        return replace(self, lanes=self.lanes.set(lane.data_partition, lane))

    def app_id(self, data_partition: str) -> str:
        """The counter of publish tickets, over all runs."""
        return f"{self.tenant}/{self.plan.environment}/{self.plan.pipeline}/{data_partition}"

    @property
    def done(self) -> bool:
        """Every stage of every data partition succeeded."""
        return all(isinstance(lane.step, Finished) for lane in self.lanes.values())

    @property
    def still(self) -> bool:
        """Nothing is open or due."""
        return all(isinstance(lane.step, Finished | Halted) for lane in self.lanes.values())

    def working(self) -> list[Working]:
        """Its open attempts, in the plan's order."""
        return [lane.step for lane in self.ordered() if isinstance(lane.step, Working)]

    def ordered(self) -> list[Lane]:
        return [self.lanes[name] for name in dict.fromkeys(self.plan.data_partitions)]

    def figures_of(self, lane: Lane) -> StageMetrics:
        """A lane's figures so far: read by its read stages, given by its last stage, the rest summed. ms and bytes."""
        got = [(stage, lane.metrics[stage.name]) for stage in self.stages if stage.name in lane.metrics]
        return StageMetrics(
            records_in=sum(m.records_in for stage, m in got if stage.kind == "read"),
            records_out=got[-1][1].records_out if got else 0,
            dead_lettered=sum(m.dead_lettered for _, m in got),
            bytes_out=sum(m.bytes_out for _, m in got),
            duration_ms=sum(m.duration_ms for _, m in got),
        )

    def totals(self, now: datetime) -> RunTotals:
        """The run in figures, if it ended now."""
        lanes = self.ordered()
        figures = [self.figures_of(lane) for lane in lanes]
        records_in, dead = sum(f.records_in for f in figures), sum(f.dead_lettered for f in figures)
        compared = tuple(r for lane in lanes for stage in self.stages for r in lane.reconciliations.get(stage.name, ()))
        started = None if isinstance(self.phase, Queued) else self.phase.started
        return RunTotals(
            records_in=records_in,
            records_out=sum(lane.published for lane in lanes),
            dead_lettered=dead,
            error_rate=_rate(dead, records_in),
            duration_ms=0 if started is None else max(0, (now - started) // timedelta(milliseconds=1)),
            reconciled=all(r.holds for r in compared) if compared else None,
            reconciliations=compared,
        )


def stages_of(document: dict[str, Any]) -> tuple[tuple[StageOf, ...], RetryRule]:
    """What the domain keeps of an effective manifest. Raises: pydantic.ValidationError, KeyError (a sink that is not declared)."""
    manifest = Manifest.model_validate(document)
    stages = tuple(
        StageOf(stage.name, stage.kind, manifest.sink(stage.sink).path if stage.kind == "publish" else None) for stage in manifest.stages
    )
    retry = manifest.retry
    return stages, RetryRule(retry.max_attempts, retry.backoff_seconds, retry.max_backoff_seconds)


def _rate(part: int, whole: int) -> str:
    if whole <= 0:
        return "0.000000"
    return str((Decimal(part) / Decimal(whole)).quantize(Decimal("0.000001"), ROUND_HALF_UP))
