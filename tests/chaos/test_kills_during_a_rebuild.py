"""`kill -9` of the projector, and of the rebuild itself, during `barecount rebuild`: nothing lost, the live model untouched."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from confluent_kafka import Producer

from tests.support.stack import Stack

EXAMPLE = Path(__file__).resolve().parents[2] / "contracts" / "examples" / "RunLogged.v1.json"
# enough that a rebuild takes longer than it takes to kill something
LINES = 20_000

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


def test_the_projector_and_then_the_rebuild_are_killed_and_nothing_is_lost(victim_stack: Stack) -> None:
    product = victim_stack
    _fill(product)
    _until(lambda: _lag(product) == 0, "execution to project the lines", 180)

    rebuild = _begun(product)
    product.kill("execution")
    done = rebuild.communicate(timeout=180)[0]
    assert rebuild.returncode == 0, done
    told = json.loads(done)[0]
    assert told["tables"]["logs"] == LINES
    assert told["differences"] == []
    _until(lambda: _lag(product) == 0, "execution to come back", 60)

    rebuild = _begun(product)
    _processes_of(rebuild)[0].send_signal(signal.SIGKILL)
    words = rebuild.communicate(timeout=60)[0]
    assert rebuild.returncode == 1
    assert "ended with status -9 before it was done" in words
    _fill(product, 500)
    _until(lambda: _lag(product) == 0, "the live model to go on", 60)

    told = json.loads(product.run("rebuild", "execution", "--output", "json").stdout)[0]
    assert (told["tables"]["logs"], told["differences"]) == (LINES + 500, [])
    assert json.loads(product.run("rebuild", "execution", "--rollback", "--output", "json").stdout)[0]["step"] == "rolled-back"
    assert _lag(product) == 0


def _fill(product: Stack, lines: int = LINES) -> None:
    producer, held = Producer({**product.librdkafka_admin(), "linger.ms": 20}), json.loads(EXAMPLE.read_text())
    for number in range(lines):
        body = {**held, "id": str(uuid4()), "data": {**held["data"], "sequence": number}}
        producer.produce("run.logs", json.dumps(body).encode(), key=b"run", partition=number % 4)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0


def _begun(product: Stack) -> subprocess.Popen[str]:
    """A rebuild whose process is there and has its schema."""
    rebuild = product.start("rebuild", "execution", "--output", "json")
    log = product.data / "logs" / "execution.rebuild.log"
    before = _created(log)
    _until(lambda: _processes_of(rebuild) and _created(log) > before, "the rebuild to begin", 60)
    return rebuild


def _created(log: Path) -> int:
    return log.read_text().count("view-set-created") if log.exists() else 0


def _processes_of(rebuild: subprocess.Popen[str]) -> list[psutil.Process]:
    return [child for child in psutil.Process(rebuild.pid).children() if "barecount_execution.rebuild" in child.cmdline()]


def _lag(product: Stack) -> int | None:
    row: dict[str, Any] = product.processes()["execution"]
    return row["lag"] if row["health"] == "ready" else None


def _until(look: Callable[[], object], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)  # nobody tells from outside
