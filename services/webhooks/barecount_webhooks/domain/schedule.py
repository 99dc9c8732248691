"""When a delivery is tried again. Exponential steps with full jitter (AWS Architecture Blog, Exponential Backoff And Jitter)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Self

# 5 s, 5 min, 30 min, 2 h, 5 h, then every 10 h: with jitter the last try comes some days after the first
DEFAULT_STEPS = "5,300,1800,7200,18000,36000,36000,36000,36000,36000,36000,36000,36000,36000,36000"
LONGEST_RETRY_AFTER = timedelta(hours=24)
# full jitter may say at once; a receiver that has just failed gets a moment
LEAST_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Schedule:
    """steps: the longest wait before the second, third, ... attempt. After the last one a delivery is given up."""

    steps: tuple[timedelta, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Seconds, separated by commas. Raises: ValueError."""
        steps = tuple(timedelta(seconds=float(one)) for one in text.split(",") if one.strip())
        if any(step <= timedelta() for step in steps):
            raise ValueError("every step of a retry schedule is longer than 0 s")
        return cls(steps)

    @property
    def attempts(self) -> int:
        return len(self.steps) + 1

    def retry_at(self, attempt: int, now: datetime, chance: float, retry_after: timedelta | None = None) -> datetime | None:
        """Not before this, after the `attempt`-th attempt failed; None: it was the last.

        chance: of [0, 1). retry_after: what the receiver asked for; it only makes the wait longer, up to 24 h.
        """
        if attempt > len(self.steps):
            return None
        step = self.steps[attempt - 1]
        wait = max(step * LEAST_SHARE, step * (1 - chance))
        if retry_after is not None:
            wait = max(wait, min(retry_after, LONGEST_RETRY_AFTER))
        return now + wait


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """The header of RFC 9110 §10.2.3, seconds or an HTTP date; None when it is absent or cannot be read."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:12]), 10**9))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    wait = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    return max(wait, timedelta())
