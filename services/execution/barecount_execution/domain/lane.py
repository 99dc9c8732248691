"""A lane: the way of one data partition through the stages of a run, one open attempt at a time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from barecount_contracts import InputFile, Reconciliation, StagedOutput, StageMetrics, TaskRef
from immutables import Map


@dataclass(frozen=True, slots=True)
class Ready:
    """Waits for a slot. fence: the task is to close the publication, not to work."""

    fence: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waits for its time, then for a slot."""

    not_before: datetime
    fence: bool = False


@dataclass(frozen=True, slots=True)
class Working:
    """An attempt holds a slot. interrupted: nothing of it is wanted any more and its lease is not extended."""

    task: TaskRef
    lease_until: datetime
    fence: bool = False
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Halted:
    """Nothing is open and nothing more is wanted, though not every stage succeeded."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Every stage succeeded."""


Step = Ready | Waiting | Working | Halted | Finished


@dataclass(frozen=True, slots=True)
class Lane:
    """stage: index of the stage that is due. attempts: of that stage. tries: of the fence. worker: who had the latest attempt.

    grants: ticket numbers of that stage, if it publishes. doubtful: an attempt with one of them may have published, or may still.
    metrics, reconciliations: of the latest closed attempt, by stage name. published: records that publications of this run hold.
    """

    data_partition: str
    stage: int = 0
    step: Step = Ready()
    attempts: int = 0
    tries: int = 0
    worker: str | None = None
    outputs: tuple[StagedOutput, ...] = ()
    sources: tuple[InputFile, ...] = ()
    metrics: Map[str, StageMetrics] = field(default_factory=Map)
    reconciliations: Map[str, tuple[Reconciliation, ...]] = field(default_factory=Map)
    grants: tuple[int, ...] = ()
    doubtful: bool = False
    published: int = 0

    def next_stage(self, stages: int, *, closing: bool) -> Lane:
        """After the stage that was due succeeded."""
        stage = self.stage + 1
        step: Step = Finished() if stage == stages else Halted() if closing else Ready()
        return replace(self, stage=stage, step=step, attempts=0, tries=0, grants=(), doubtful=False)

    def at_rest(self) -> Lane:
        """Once the run ends: no more work, but a publication in doubt is closed by a fence first."""
        match self.step:
            case Working() as working:
                return replace(self, step=replace(working, interrupted=not working.fence))
            case Finished():
                return self
            case Ready() | Waiting() | Halted():
                return replace(self, step=Ready(fence=True) if self.doubtful else Halted())
