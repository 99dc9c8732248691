"""Which faults a seed has: the points that were tried least, so that a run of many seeds comes to all of them, with both signals."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

from tests.chaos.crash.points import ANY, Fault, frames_of

# CI takes one seed a kind; BARECOUNT_CHAOS_SEEDS counts over all kinds
KINDS: Final = 5
SEEDS: Final = max(1, -(-int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1")) // KINDS))
FAULTS: Final = 3
# a fault that misses its moment (its process came by another way) is sent to its point again, so many times
AGAIN: Final = 3
SIGNALS: Final = ("KILL", "STOP")

# what a first process comes by, and what one comes by that takes over: point -> how often
Scouted = list[Counter[str]]


class Choice:
    """One kind's faults so far, over all seeds of a run: the same seeds in the same order have the same faults."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        # how often each place of the product's code (a frame of a point) and each point were tried, by signal
        self._places, self._points = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        self._again = Counter[tuple[str, str]]()

    def fault(self, seed: int, known: Counter[str], before: Collection[str] = ()) -> Fault:
        """At one of `known`: point -> how often a process comes by it. First where some place was not tried with a signal yet (`before`
        the others), then where least was tried."""
        # the signals in turn, so that few seeds have both
        signals = SIGNALS if self._points.total() % 2 == 0 else SIGNALS[::-1]
        candidates = [(name, signal) for name in in_turn(known, before) for signal in signals]

        def rank(candidate: tuple[str, str]) -> tuple[int, int]:
            name, signal = candidate
            untried = any(not self._places[frame, signal] for frame in frames_of(name))
            return (int(name not in before) if untried else 2), sum(self._points[name, one] for one in SIGNALS)

        name, signal = chosen = min(candidates, key=rank)
        self._count(chosen, 1)
        # what missed it may have been the number
        most = 1 if self._again[chosen] else min(4, known[name])
        return Fault(signal, name, random.Random(f"{self.kind} {seed} {name}").randint(1, max(1, most)))

    def missed(self, fault: Fault) -> None:
        """Nobody met this fault."""
        tried = (fault.point, fault.signal)
        if self._again[tried] < AGAIN:
            self._again[tried] += 1
            self._count(tried, -1)

    def _count(self, tried: tuple[str, str], times: int) -> None:
        name, signal = tried
        self._points[tried] += times
        for frame in frames_of(name):
            self._places[frame, signal] += times


def asked() -> list[Fault]:
    """What BARECOUNT_CHAOS_FAULTS names: the faults of a failure that somebody wants to see again."""
    told = os.environ.get("BARECOUNT_CHAOS_FAULTS")
    return [Fault.read(one) for one in told.split(" ; ")] if told else []


def faults_of(choice: Choice, seed: int, scouted: Scouted, few: int = 2, many: int = FAULTS) -> list[Fault]:
    """The faults of a seed, one after the other: `many`. The first process comes by other points than those that take over, who share
    the last scout's. Without scouts, as CI takes one seed only, a `few` at any n-th point, both signals in turn."""
    if found := asked():
        return found
    if scouted:
        return [choice.fault(seed, scouted[min(number, len(scouted) - 1)]) for number in range(many)]
    return any_points(choice, seed, many if SEEDS > 1 else few)


def any_points(choice: Choice, seed: int, faults: int) -> list[Fault]:
    """Where nobody knows the points: any n-th one, both signals in turn."""
    dice = random.Random(f"{choice.kind} {seed}")
    first = dice.random() < 0.5
    return [Fault(SIGNALS[(first + number) % 2], ANY, int(10 ** dice.uniform(0.5, 3.0))) for number in range(faults)]


def in_turn(points: Iterable[str], before: Collection[str] = ()) -> list[str]:
    """In the order in which seeds take them: those of `before`, then those that stand at an await at which none before them does."""
    ordered = sorted(point for point in points if point)
    # in an order that has nothing to do with the way of the work, so that few seeds are spread over it
    random.Random(0).shuffle(ordered)
    ordered.sort(key=lambda point: point not in before)
    first, others, known = list[str](), list[str](), set[str]()
    for point in ordered:
        frames = set(frames_of(point))
        (others if frames <= known else first).append(point)
        known |= frames
    return first + others


def repeat(kind: str, seed: int, faults: list[Fault]) -> str:
    """What a failure says, so that somebody can see it again."""
    told = " ; ".join(map(str, faults))
    return f"{kind}, seed {seed}. Again: BARECOUNT_CHAOS_FAULTS='{told}' pytest tests/chaos/crash -k '{kind} and {seed}'"
