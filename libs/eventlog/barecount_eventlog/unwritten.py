"""Between judging and the log: what the next transaction will carry."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from .judging import Judged, PartitionState
from .record import OutRecord

S = TypeVar("S")


@dataclass(slots=True)
class Unwritten(Generic[S]):
    """What was judged and is not in the log yet.

    state: after it. position: the inbox's, after it. outcomes: how many of each type; refused: (outcome, code) of those. heard: the newest
    broker time. count: inbox records.
    """

    state: PartitionState[S]
    position: int
    out: list[OutRecord] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)
    heard: datetime | None = None
    count: int = 0

    def add(self, answer: Judged[S], heard: datetime) -> None:
        self.state, self.heard = answer.state, heard
        self.out.extend(answer.out)
        # the answer itself is let go: it holds a state of its own
        self.outcomes[answer.outcome] += 1
        self.count += 1
        if answer.refused is not None:
            self.refused.append((answer.outcome, answer.refused))
