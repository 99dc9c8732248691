"""What runs in a data folder, asked now: health, lag and memory of every process, beside what stack.json recorded."""

from __future__ import annotations

import http.client
import json
import re
import shutil
from collections import Counter
from typing import Any

import psutil

from . import ports, record
from .kafka import answers
from .settings import StackSettings

# a line of the Prometheus text that a service serves
_REJECTED = re.compile(r'^barecount_handler_rejected_records\{[^}]*code="([^"]*)"[^}]*\} (\S+)$', re.MULTILINE)
_PARKED = re.compile(r'^barecount_projector_parked_records\{[^}]*code="([^"]*)"[^}]*topic="([^"]*)"[^}]*\} (\S+)$', re.MULTILINE)
_SKIPPED = re.compile(r'^barecount_worker_skipped_total\{[^}]*code="([^"]*)"[^}]*\} (\S+)$', re.MULTILINE)


def status(settings: StackSettings) -> dict[str, Any]:
    """{"state", "url", "data_dir", "supervisor", "processes": [{"name", "pid", "address", "health", "lag", "rejected", "parked", "log",
    "pss_bytes", "restarts", "refused", "last_error", "last_lines"}], "pss_bytes", "free_bytes"}.

    rejected: inbox records that the service let in never, code → count since the log began; None where there is no inbox.
    parked: records of other topics that it could not read, topic → code → count; a service's stand in its read model (`projection_errors`
    has place, reason and digest of each), a worker's count since its start.

    state: stopped, starting, ready, refused (services wait for a person), stopping, or orphaned (its supervisor was killed).
    """
    found = record.read(settings.record)
    if not found:
        return {
            "state": "stopped",
            "url": settings.url,
            "data_dir": str(settings.data_dir),
            "supervisor": None,
            "processes": [],
            "pss_bytes": 0,
            "free_bytes": _free(settings),
        }
    boss = record.supervisor_lives(found)
    rows = [_row(one) for one in found.get("processes", [])]
    state = found["state"]
    if not boss and state != "stopped":
        state = "orphaned" if record.living(found) else "stopped"
    memory = sum(row["pss_bytes"] or 0 for row in rows)
    if boss:
        memory += _pss(found["supervisor"]["pid"])
    kept: dict[str, Any] = {
        name: found[name] for name in ("url", "data_dir", "started_at", "kafka_bootstrap", "versions", "ports") if name in found
    }
    return {
        "state": state,
        **kept,
        "supervisor": found["supervisor"] if boss else None,
        "processes": rows,
        "pss_bytes": memory,
        "free_bytes": _free(settings),
    }


def _free(settings: StackSettings) -> int | None:
    """What is left on the disk of the data folder; None before there is one."""
    try:
        return shutil.disk_usage(settings.data_dir).free
    except OSError:
        return None


def _row(one: dict[str, Any]) -> dict[str, Any]:
    lives = bool(one.get("pid")) and record.same_process(one["pid"], one.get("started"))
    health, lag = _health(one["name"], one["address"]) if lives else ("down", None)
    if one.get("refused") and health != "ready":
        # also while it looks again
        health = "refused"
    # not only when it is ready: a service that stands still is asked why
    told = _asked(int(one["address"].rpartition(":")[2]), "/metrics") if lag is not None else None
    text = told[1].decode() if told is not None else ""
    shown = {name: one.get(name) for name in ("name", "pid", "address", "log", "restarts", "refused", "last_error", "last_lines")}
    return {
        **shown,
        "pid": one["pid"] if lives else None,
        "health": health,
        "lag": lag,
        "rejected": _rejected(text),
        "parked": _parked(text),
        "pss_bytes": _pss(one["pid"]) if lives else None,
    }


def _health(name: str, address: str) -> tuple[str, int | None]:
    port = int(address.rpartition(":")[2])
    if name == "kafka":
        return ("ready" if answers(port) else "starting"), None
    if name in ("postgres", "caddy"):
        return ("ready" if ports.accepts(port) else "starting"), None
    answer = _asked(port, "/health/ready")
    if answer is None:
        return "starting", None
    status, body = answer
    return ("ready" if status == 200 else _why_not(body)), _lag(body)


def _why_not(body: bytes) -> str:
    """`failed` when a part waits for a person (a record that cannot be decided, another log), else `starting`."""
    try:
        checks = json.loads(body)["checks"].values()
        return "failed" if any(check["state"] == "failed" for check in checks) else "starting"
    except (ValueError, KeyError, AttributeError, TypeError):
        return "starting"


def _asked(port: int, path: str) -> tuple[int, bytes] | None:
    """(status, body) of a service's own page; None when it does not answer."""
    connection = http.client.HTTPConnection(ports.HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _rejected(text: str) -> dict[str, int] | None:
    # only the owner of an inbox has such a line
    if "\nbarecount_handler_owned{" not in text:
        return None
    found = Counter[str]()
    for code, count in _REJECTED.findall(text):
        found[code] += int(float(count))
    return dict(sorted(found.items()))


def _parked(text: str) -> dict[str, dict[str, int]] | None:
    if not text:
        return None
    found: dict[str, dict[str, int]] = {}
    for code, topic, count in (*_PARKED.findall(text), *((code, "runs.tasks", count) for code, count in _SKIPPED.findall(text))):
        found.setdefault(topic, {})[code] = int(float(count))
    return found


def _lag(body: bytes) -> int | None:
    """The records that the service's readers are behind, all parts together; None when it does not tell."""
    try:
        checks = json.loads(body).get("checks", {})
        behind = [check["lag"] for check in checks.values() if "lag" in check]
    except (ValueError, AttributeError, TypeError):
        return None
    return sum(behind) if behind else None


def _pss(pid: int) -> int:
    """Proportional memory of a process and its children, bytes: shared pages count once among those who share them."""
    total = 0
    try:
        process = psutil.Process(pid)
        # the supervisor's children are the stack itself and have their own rows
        family = [process] if process.name().startswith("python") else [process, *process.children(recursive=True)]
        for one in family:
            total += one.memory_full_info().pss if psutil.LINUX else one.memory_info().rss
    except psutil.Error:
        return total
    return total
