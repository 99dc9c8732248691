"""Which crash points there are and which of them a run met: said at its end, and with 200 seeds none may be left out.

A point is an await of the modules under test (bodies.MODULES) at which some process of the run waited. The others (they follow an error
or a stop, or wait for nothing) are counted beside, and named in the report. For a publish, which never waits, a point is a line of the
code that commits, or something that happens to a file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.chaos.crash.bodies import MODULES
from tests.chaos.crash.points import Await, awaits_of, frames_of

# (kind, signal, point) -> how often it was met
Hits = Counter[tuple[str, str, str]]
# from so many seeds on a run must have met every point
COMPLETE: Final = 200
NAMES: Final = {
    "handler": "handler", "projector": "projector", "publish": "publish", "attempt": "publish, the worker around it", "webhooks": "sender",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """Of one kind: its points, how many of them each signal met, those that neither met, and the awaits at which nobody waited."""

    kind: str
    points: int
    killed: int
    frozen: int
    unmet: tuple[str, ...]
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        beside = f" (and {len(self.beside)} awaits at which nobody waited)" if self.beside else ""
        left = f"; {len(self.unmet)} met by neither" if self.unmet else ""
        return f"{NAMES[self.kind]}: {self.points} points{beside}, a kill met {self.killed}, a freeze {self.frozen}{left}"


def rows(hits: Hits, seen: Mapping[str, Collection[str]], lines: Collection[str]) -> list[Row]:
    """One a kind that met anything. seen: by kind, what processes came by that were left alone. lines: the points of a publish."""
    kinds = {kind for kind, _, _ in hits}
    found = [_of_awaits(kind, awaits_of(*MODULES[kind]), hits, seen.get(kind, ())) for kind in MODULES if kind in kinds]
    if lines and "publish" in kinds:
        killed, frozen = [{point for point in _met("publish", signal, hits) if point in lines} for signal in ("KILL", "STOP")]
        found.append(Row("publish", len(lines), len(killed), len(frozen), tuple(sorted(set(lines) - killed - frozen))))
    return found


def _met(kind: str, signal: str, hits: Hits) -> Iterator[str]:
    return (point for hit, sent, point in hits if (hit, sent) == (kind, signal))


def _of_awaits(kind: str, awaits: Collection[Await], hits: Hits, seen: Iterable[str]) -> Row:
    def at(points: Iterable[str]) -> set[Await]:
        frames = {frame for point in points for frame in frames_of(point)}
        return {one for one in awaits if any(map(one.holds, frames))}

    killed, frozen = at(_met(kind, "KILL", hits)), at(_met(kind, "STOP", hits))
    waited = at(seen) | killed | frozen
    unmet = tuple(one.name for one in awaits if one in waited - killed - frozen)
    return Row(kind, len(waited), len(killed), len(frozen), unmet, tuple(one.name for one in awaits if one not in waited))


def left_out(found: Collection[Row]) -> str | None:
    """What a run of many seeds did not meet and should have; None when it did, or cannot be asked to."""
    if int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1")) < COMPLETE or "BARECOUNT_CHAOS_FAULTS" in os.environ:
        return None
    return "\n".join(f"{NAMES[row.kind]}: {'; '.join(row.unmet)}" for row in found if row.unmet) or None


def summary(hits: Hits, missed: Sequence[str], found: Collection[Row]) -> dict[str, Any]:
    """For BARECOUNT_CHAOS_REPORT: every hit, and each kind's row."""
    kinds = {
        row.kind: {"points": row.points, "killed": row.killed, "frozen": row.frozen, "unmet": row.unmet, "beside": row.beside}
        for row in found
    }
    return {
        "missed": list(missed),
        "faults": hits.total(),
        "kinds": kinds,
        "hits": [[*what, times] for what, times in sorted(hits.items())],
    }
