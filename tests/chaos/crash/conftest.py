"""One nursery for all kinds, and what was met in the end."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.crash.harness import Nursery
from tests.chaos.crash.matrix import Row, left_out, rows, summary
from tests.integration.eventlog.conftest import topics

__all__ = ["nursery", "topics"]

MET = pytest.StashKey[list[Row]]()


@pytest.fixture(scope="session")
async def nursery(request: pytest.FixtureRequest) -> AsyncIterator[Nursery]:
    """Its end is an error when many seeds left a point out. All hits go to the file that BARECOUNT_CHAOS_REPORT names."""
    async with Nursery.open() as made:
        yield made
        found = rows(made.hits, made.seen, made.lines)
        request.config.stash[MET] = found
        if where := os.environ.get("BARECOUNT_CHAOS_REPORT"):
            Path(where).write_text(  # noqa: ASYNC240 nothing else runs any more
                json.dumps(summary(made.hits, made.missed, found), indent=1)
            )
        missing = left_out(found)
        assert missing is None, f"crash points at which processes waited and that no seed met (tests/chaos/crash/matrix.py):\n{missing}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash.get(MET, [])
    if found:
        terminalreporter.section("crash points met by a kill and by a freeze")
        for row in found:
            terminalreporter.write_line(str(row))
