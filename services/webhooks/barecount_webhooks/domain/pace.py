"""How fast one endpoint is called: additive increase and multiplicative decrease of calls at once, and a breaker that probes.

AIMD: Chiu and Jain 1989, as in TCP. Breaker: Nygard, Release It!. Time comes in as seconds of any clock that does not go back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

BREAK_AFTER = 10
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0

Answered = Literal["taken", "refused", "overloaded"]
Breaker = Literal["closed", "open", "half-open"]


@dataclass(slots=True)
class Pace:
    """overloaded: 429, 502, 503, 504 or no answer in time; refused: any other failure."""

    most: int = 16
    pause: tuple[float, float] = (FIRST_PAUSE, LONGEST_PAUSE)
    limit: float = 4.0
    in_flight: int = 0
    failures: int = 0
    """In a row, of all deliveries."""
    not_before: float = 0.0
    _pause: float = field(default=0.0)

    def room(self, now: float) -> int:
        """How many calls may begin now."""
        match self.breaker(now):
            case "open":
                return 0
            case "half-open":
                return max(0, 1 - self.in_flight)
            case "closed":
                return max(0, int(self.limit) - self.in_flight) if now >= self.not_before else 0

    def breaker(self, now: float) -> Breaker:
        if self.failures < BREAK_AFTER:
            return "closed"
        return "open" if now < self.not_before else "half-open"

    def ended(self, answered: Answered, now: float, asked_to_wait: float = 0.0) -> None:
        """asked_to_wait: the receiver's Retry-After in seconds; while overloaded it holds for the whole endpoint."""
        if answered == "taken":
            self.failures, self._pause, self.not_before = 0, 0.0, 0.0
            self.limit = min(float(self.most), self.limit + 1 / self.limit)
            return
        self.failures += 1
        if answered == "overloaded":
            self.limit = max(1.0, self.limit / 2)
            self.not_before = max(self.not_before, now + min(asked_to_wait, self.pause[1]))
        if self.failures >= BREAK_AFTER:
            self._pause = min(self.pause[1], max(self.pause[0], self._pause * 2))
            self.not_before = max(self.not_before, now + self._pause)
