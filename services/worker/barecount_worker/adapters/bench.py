"""What a stage works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from barecount_worker.domain.lake import Lake
from barecount_worker.domain.stage import DeadLetter, StageTask
from barecount_worker.domain.stop import Stop

from .staging import Staging


class Log(Protocol):
    """One line of a stage's log: level (debug, info, warning, error), what happened, and facts."""

    def __call__(self, level: str, event: str, **fields: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Bench:
    """What a stage works with: its task, its folders, and the ways out."""

    task: StageTask
    lake: Lake
    staging: Staging
    log: Log
    dead_letter: Callable[[DeadLetter], None]
    stop: Stop
    memory: str
