"""When an owner appends a tick to its own inbox. Clocks here only decide when to ask; the tick's broker timestamp is the time.

Asking early costs a tick, asking late lets a lease outlive its time. So the later of two clocks is believed: the wall's, and the broker's
as it was last heard plus what has passed since. Pauses are measured on the clock that nobody can set.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from barecount_contracts import Position, murmur2

STUBBORN = timedelta(seconds=1)
# a broker whose clock was set back is asked again after so long at most: it may be set right any moment
LONGEST_PAUSE = timedelta(seconds=60)


class Ticking:
    """At most one tick under way; none without a due deadline. wall: the wall clock, UTC; elapsed: seconds that only grow."""

    def __init__(self, wall: Callable[[], datetime] = lambda: datetime.now(UTC), elapsed: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._elapsed = wall, elapsed
        self._outstanding: int | None = None
        self._not_before = -math.inf
        self._asked_for: datetime | None = None
        self._heard: tuple[datetime, float] | None = None

    def heard(self, broker_time: datetime) -> None:
        """The broker's time of a record that has just come."""
        self._heard = broker_time, self._elapsed()

    def wait(self, deadline: datetime | None, inbox_next: int) -> float | None:
        """Seconds until a tick is due: 0 now, None when no tick is wanted or one is under way."""
        if self._outstanding is not None and inbox_next > self._outstanding:
            self._outstanding = None
        if deadline is None or self._outstanding is not None:
            return None
        now, clock = self._elapsed(), self._wall()
        if self._heard is not None:
            clock = max(clock, self._heard[0] + timedelta(seconds=now - self._heard[1]))
        return max(0.0, (deadline - clock).total_seconds(), self._not_before - now)

    def appended(self, at: Position, timestamp_ms: int, deadline: datetime) -> None:
        """A tick stands in the inbox. Neither a broker clock behind ours nor a deadline that stays may make a storm of ticks."""
        self._outstanding = at.offset
        behind = deadline - datetime.fromtimestamp(timestamp_ms / 1000, UTC)
        pause = min(LONGEST_PAUSE, max(behind, timedelta(0)))
        if self._asked_for == deadline:
            pause = max(pause, STUBBORN)
        self._asked_for = deadline
        self._not_before = self._elapsed() + pause.total_seconds()


def tick_key(partition: int, partitions: int) -> str:
    """The first key `tick.<n>` that belongs to this partition, so that a tick passes the same partition check as every record."""
    return next(key for key in (f"tick.{n}" for n in range(100_000)) if murmur2(key.encode()) % partitions == partition)
