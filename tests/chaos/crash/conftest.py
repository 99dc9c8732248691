"""One nursery for all kinds, and what was met in the end."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.crash.bodies import MODULES
from tests.chaos.crash.harness import Nursery
from tests.chaos.crash.points import awaits_of
from tests.integration.eventlog.conftest import topics

__all__ = ["nursery", "topics"]


@pytest.fixture(scope="session")
async def nursery() -> AsyncIterator[Nursery]:
    """Its last word goes to the file that BARECOUNT_CHAOS_REPORT names."""
    async with Nursery.open() as made:
        yield made
        if where := os.environ.get("BARECOUNT_CHAOS_REPORT"):
            _write(Path(where), made)


def _write(where: Path, nursery: Nursery) -> None:
    """Every hit, and for each kind which awaits of its modules were among the frames that waited there."""
    rows = [[*what, times] for what, times in sorted(nursery.hits.items())]
    found = {}
    for kind, modules in MODULES.items():
        frames = {frame for hit, _, point in nursery.hits if hit == kind for frame in point.split(" | ")[0].split(" > ")}
        awaits = awaits_of(*modules)
        never = [name for name, (first, last) in awaits.items() if not any(_within(frame, name, first, last) for frame in frames)]
        found[kind] = {"awaits": len(awaits), "never": sorted(never)}
    points = Counter(kind for kind, point in {(kind, point) for kind, _, point in nursery.hits})
    summary = {"missed": nursery.missed, "faults": sum(nursery.hits.values()), "points": points, "awaits": found}
    where.write_text(json.dumps(summary | {"hits": rows}, indent=1))


def _within(frame: str, name: str, first: int, last: int) -> bool:
    file, _, line = frame.partition(":")
    return name.startswith(f"{file}:") and first <= int(line) <= last
