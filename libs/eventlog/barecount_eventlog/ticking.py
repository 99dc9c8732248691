"""When an owner appends a tick to its own inbox. The wall clock only decides when to ask; the tick's broker timestamp is the time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from barecount_contracts import Position, murmur2

STUBBORN = timedelta(seconds=1)


class Ticking:
    """At most one tick under way; none without a due deadline. wall: the wall clock, UTC."""

    def __init__(self, wall: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._wall = wall
        self._outstanding: int | None = None
        self._not_before = datetime.min.replace(tzinfo=UTC)
        self._asked_for: datetime | None = None

    def wait(self, deadline: datetime | None, inbox_next: int) -> float | None:
        """Seconds until a tick is due: 0 now, None when no tick is wanted or one is under way."""
        if self._outstanding is not None and inbox_next > self._outstanding:
            self._outstanding = None
        if deadline is None or self._outstanding is not None:
            return None
        return max(0.0, (max(deadline, self._not_before) - self._wall()).total_seconds())

    def appended(self, at: Position, timestamp_ms: int, deadline: datetime) -> None:
        """A tick stands in the inbox. Neither a broker clock behind ours nor a deadline that stays may make a storm of ticks."""
        self._outstanding = at.offset
        behind = deadline - datetime.fromtimestamp(timestamp_ms / 1000, UTC)
        pause = max(behind, timedelta(0))
        if self._asked_for == deadline:
            pause = max(pause, STUBBORN)
        self._asked_for = deadline
        self._not_before = self._wall() + pause


def tick_key(partition: int, partitions: int) -> str:
    """The first key `tick.<n>` that belongs to this partition, so that a tick passes the same partition check as every record."""
    return next(key for key in (f"tick.{n}" for n in range(100_000)) if murmur2(key.encode()) % partitions == partition)
