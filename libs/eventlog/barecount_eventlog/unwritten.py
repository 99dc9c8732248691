"""Between judging and the log: what the next transaction will carry."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from .judging import Judged, PartitionState
from .record import OutRecord

S = TypeVar("S")


@dataclass(slots=True)
class Unwritten(Generic[S]):
    """What was judged and is not in the log yet. state: after it. position: the inbox's, after it. heard: the newest broker time."""

    state: PartitionState[S]
    position: int
    out: list[OutRecord] = field(default_factory=list)
    judged: list[Judged[S]] = field(default_factory=list)
    heard: datetime | None = None

    def add(self, answer: Judged[S], heard: datetime) -> None:
        self.state, self.heard = answer.state, heard
        self.out.extend(answer.out)
        self.judged.append(answer)
