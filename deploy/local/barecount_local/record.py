"""stack.json: what runs in a data folder, for people, for `status`, and for whoever has to clean up after a killed supervisor."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil

from .errors import NotReady
from .waiting import until


def read(path: Path) -> dict[str, Any]:
    """The record as it stands; empty when there is none or it is not whole."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, record: dict[str, Any]) -> None:
    """Whole or not at all: readers never see half a record."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(record, indent=2) + "\n")
    fresh.replace(path)


def started(pid: int) -> float | None:
    """When the process with this id started, in seconds since the machine did: with the id it names one process.

    Not the time of day: that is reckoned from the boot's, which moves when the clock is set, and the process would be another one then.
    """
    try:
        after_the_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(after_the_name[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def same_process(pid: int, began: float | None) -> bool:
    """Whether the process that was recorded still lives; another that got its id since does not count."""
    try:
        lives = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
    now = started(pid)
    return lives and began is not None and now is not None and abs(now - began) < 0.005


def living(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The recorded processes that still live, in the order they were started; without the supervisor."""
    return [one for one in record.get("processes", []) if one.get("pid") and same_process(one["pid"], one.get("started"))]


def supervisor_lives(record: dict[str, Any]) -> bool:
    boss = record.get("supervisor") or {}
    return bool(boss.get("pid")) and same_process(boss["pid"], boss.get("started"))


def end_orphans(record: dict[str, Any], seconds: float = 20) -> list[str]:
    """Ends what a killed supervisor left behind, services first, and waits until all are gone. Returns their names."""
    orphans = list(reversed(living(record)))
    for one in orphans:
        _signal(one["pid"], signal.SIGINT if one["name"] == "postgres" else signal.SIGTERM)
    deadline = time.monotonic() + seconds
    for one in orphans:
        try:
            until(
                lambda one=one: not same_process(one["pid"], one["started"]),  # type: ignore[misc]
                what=f"the former {one['name']} (pid {one['pid']}) to end",
                seconds=max(0.0, deadline - time.monotonic()),
            )
        except NotReady:
            _signal(one["pid"], signal.SIGKILL)
            until(
                lambda one=one: not same_process(one["pid"], one["started"]),  # type: ignore[misc]
                what=f"the former {one['name']} (pid {one['pid']}) to die",
                seconds=10,
            )
    return [one["name"] for one in orphans]


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
