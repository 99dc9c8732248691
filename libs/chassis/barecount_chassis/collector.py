"""Python's cyclic garbage collector, set for a process that reads a log.

Its defaults look at every young object after 700 new ones, and at all that is alive whenever that grew by a quarter. A batch of some
thousand records is hundreds of thousands of objects that live for a moment and then die by their reference count: looking at them was
more than half of the CPU time of parsing and projecting a log of runs (docs/performance.md).
"""

from __future__ import annotations

import atexit
import gc
from typing import Final

# new objects before a look at the young ones; looks before one at the middle-aged; those before one at all
THRESHOLDS: Final = (100_000, 20, 20)


def settle() -> None:
    """Call when a process has loaded and restored what it keeps: that is not looked at again, and the rest seldom. Safe to repeat."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    # at the end everything may go: extension modules report what is still held as leaked
    atexit.unregister(gc.unfreeze)
    atexit.register(gc.unfreeze)
