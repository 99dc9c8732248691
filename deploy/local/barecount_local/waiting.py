"""Waiting for a condition, with a deadline that says what it waited for. Nothing here waits by time alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .errors import NotReady

T = TypeVar("T")
POLL_SECONDS = 0.02


def tail(log: Path | None, lines: int = 8) -> list[str]:
    """The last lines of a log file; empty when there is none."""
    if log is None or not log.exists():
        return []
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 16_384))
        return file.read().decode(errors="replace").splitlines()[-lines:]


def explain(message: str, log: Path | None) -> str:
    """A message with the last log lines below it."""
    last = tail(log)
    return f"{message}\nlast lines of {log}:\n  " + "\n  ".join(last) if last else message


def until(
    condition: Callable[[], T | None],
    *,
    what: str,
    seconds: float,
    alive: Callable[[], bool] = lambda: True,
    log: Path | None = None,
) -> T:
    """Asks `condition` until it answers something true, and returns that.

    what: the end of "waited for …", seconds: the deadline, alive: says whether the thing waited for still runs.
    Raises NotReady at the deadline, or at once when `alive` says no.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if not alive():
            raise NotReady(explain(f"waited for {what}, but its process ended", log))
        if time.monotonic() > deadline:
            raise NotReady(explain(f"waited {seconds:g} s for {what}", log))
        time.sleep(POLL_SECONDS)
