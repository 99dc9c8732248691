"""Following runs: what lineage remembers of those that have not ended, and the events it emits of them.

`follow(state, event, at)` is the whole of it, as decide and evolve in one: the next state, and an emission where a run starts or ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple
from uuid import UUID

from barecount_contracts import (
    DataPartitionPublished,
    EnvelopeError,
    Heading,
    InputFile,
    LineageEmitted,
    PlanSummary,
    Position,
    Publication,
    Reconciliation,
    RunCancelled,
    RunFailed,
    RunQueued,
    RunRefused,
    RunStarted,
    RunSucceeded,
    RunTotals,
    TaskFailed,
    TaskSucceeded,
    WorkerAnnounced,
)
from immutables import Map

from .design import Design, design_of

RunKey = tuple[str, str]
"""(tenant, run id): two tenants may call their runs the same."""

EventType = Literal["START", "COMPLETE", "FAIL", "ABORT"]


@dataclass(frozen=True, slots=True)
class Read:
    """A file that a stage read, and how many records it gave."""

    file: InputFile
    records: int | None


@dataclass(frozen=True, slots=True)
class Following:
    """A run that has not ended. `worker_versions` are the code versions that worked on it."""

    tenant: str
    run_id: str
    correlation: UUID
    plan: PlanSummary
    plan_digest: str
    design: Design
    queued: Position
    reads: Map[str, Read] = field(default_factory=Map)
    published: Map[tuple[str, str], Publication] = field(default_factory=Map)
    worker_versions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended."""

    totals: RunTotals
    error: str | None = None
    reason: str | None = None

    @property
    def reconciliations(self) -> tuple[Reconciliation, ...]:
        return self.totals.reconciliations


@dataclass(frozen=True, slots=True)
class FollowState:
    """What a restart rebuilds from runs.events alone."""

    runs: Map[RunKey, Following] = field(default_factory=Map)
    workers: Map[str, str] = field(default_factory=Map)


def read_from(state: FollowState, positions: Mapping[int, int]) -> dict[int, int]:
    """From where each partition of runs.events must be read again to have this state at `positions`: its oldest open run."""
    oldest = dict(positions)
    for run in state.runs.values():
        partition = run.queued.partition
        oldest[partition] = min(oldest.get(partition, run.queued.offset), run.queued.offset)
    return oldest


class Emission(NamedTuple):
    """An event to be emitted; the run as it was then."""

    event_type: EventType
    run: Following
    end: End | None


def follow(state: FollowState, event: Heading, at: Position) -> tuple[FollowState, Emission | None]:
    """One event of runs.events further, which stands at `at`. Total: what it does not know changes nothing."""
    try:
        payload = event.payload()
    except EnvelopeError:
        return state, None
    match payload:
        case WorkerAnnounced():
            return replace(state, workers=state.workers.set(payload.worker_id, payload.code_version)), None
        case RunQueued():
            design = design_of(payload.bodies)
            run = Following(event.tenant, payload.run_id, event.correlation, payload.plan, payload.plan_digest, design, at)
            return _keep(state, run), None
        case RunRefused():
            return _forget(state, (event.tenant, payload.run_id)), None
        case RunStarted():
            started = state.runs.get((event.tenant, payload.run_id))
            return state, None if started is None else Emission("START", started, None)
        case TaskSucceeded() | TaskFailed():
            return _worked(state, event.tenant, payload), None
        case DataPartitionPublished(publication=publication):
            published = state.runs.get((event.tenant, payload.run_id))
            if published is None:
                return state, None
            key = (publication.table, publication.data_partition)
            return _keep(state, replace(published, published=published.published.set(key, publication))), None
        case RunSucceeded():
            return _ended(state, event, payload, "COMPLETE", End(payload.totals))
        case RunFailed():
            return _ended(
                state, event, payload, "FAIL", End(payload.totals, f"{payload.stage}: {payload.error_type}: {payload.error_message}")
            )
        case RunCancelled():
            return _ended(state, event, payload, "ABORT", End(payload.totals, reason=payload.reason))
        case _:
            return state, None


def emitted(emission: Emission, event: Mapping[str, object]) -> LineageEmitted:
    """The payload that carries an OpenLineage event, with what it names."""
    job, inputs, outputs = event["job"], event["inputs"], event["outputs"]
    assert isinstance(job, Mapping)
    assert isinstance(inputs, list)
    assert isinstance(outputs, list)
    return LineageEmitted(
        run_id=emission.run.run_id,
        event_type=emission.event_type,
        job=f"{job['namespace']}/{job['name']}",
        inputs=tuple(f"{item['namespace']}:{item['name']}" for item in inputs),
        outputs=tuple(f"{item['namespace']}:{item['name']}" for item in outputs),
        event=dict(event),
    )


def _worked(state: FollowState, tenant: str, payload: TaskSucceeded | TaskFailed) -> FollowState:
    run = state.runs.get((tenant, payload.run_id))
    if run is None:
        return state
    # a stage's records belong to its one file; of several files only the files themselves are known
    records = payload.metrics.records_in if len(payload.inputs) == 1 else None
    reads = run.reads
    for file in payload.inputs:
        reads = reads.set(file.path, Read(file, records))
    version = state.workers.get(payload.task.worker_id)
    versions = run.worker_versions if version is None else run.worker_versions | {version}
    return _keep(state, replace(run, reads=reads, worker_versions=versions))


def _ended(
    state: FollowState, event: Heading, payload: RunSucceeded | RunFailed | RunCancelled, event_type: EventType, end: End
) -> tuple[FollowState, Emission | None]:
    key = (event.tenant, payload.run_id)
    run = state.runs.get(key)
    if run is None:
        return state, None
    return _forget(state, key), Emission(event_type, run, end)


def _keep(state: FollowState, run: Following) -> FollowState:
    return replace(state, runs=state.runs.set((run.tenant, run.run_id), run))


def _forget(state: FollowState, key: RunKey) -> FollowState:
    return replace(state, runs=state.runs.delete(key)) if key in state.runs else state
