"""When an inbox position goes along with a transaction: once a second, not with each.

Where deciding goes on is read from the newest outcome in the log. The group's position repeats it for whoever watches lag with Kafka's own
tools, and shows after a disaster that outcomes are missing. It costs two of a transaction's five questions to the broker, and a second
marker, so that most transactions go without.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

EVERY_SECONDS: Final = 1.0


class Telling:
    """told: the position that the group holds. It never lies: it goes with the outcomes before it, or after them.

    clock: seconds that only grow.
    """

    def __init__(self, told: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.told, self._clock, self._not_before = told, clock, -math.inf

    def wait(self, position: int) -> float | None:
        """Seconds until this position is to be told, 0 now; None when it is told already."""
        return max(0.0, self._not_before - self._clock()) if position > self.told else None

    def tell(self, position: int) -> None:
        """It goes along with the transaction that begins now. When that one fails, its owner begins anew, and so does this."""
        self.told, self._not_before = position, self._clock() + EVERY_SECONDS
