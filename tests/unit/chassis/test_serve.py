"""A service's process: how it starts, what it logs, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SERVICE = """
import asyncio, sys, time
from barecount_chassis import Settings, create_app, serve
class Appender:
    async def start(self): ...
    async def stop(self): {stop}
    async def append(self, topic, key, envelope): ...
serve(lambda settings: create_app(settings, title="Test", routers=[], appender=Appender()))
"""


def started(keys: Path, stop: str = "print('stopped cleanly', flush=True)", **more: str) -> subprocess.Popen[str]:
    told = {"SERVICE": "command", "KAFKA_BOOTSTRAP": "localhost:1", "KEYS_DIR": str(keys), **more}
    environment = {"PATH": os.environ["PATH"], **{f"BARECOUNT_{name}": value for name, value in told.items() if value}}
    code = SERVICE.format(stop=stop)
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_it_serves(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(json.loads(line))
        if "Uvicorn running" in lines[-1]["event"]:
            return lines
    raise AssertionError(process.communicate())


def test_a_service_that_is_not_told_enough_names_the_variable_and_ends_with_2(keys: Path) -> None:
    process = started(keys, KAFKA_BOOTSTRAP="")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert said == "BARECOUNT_KAFKA_BOOTSTRAP is not set\n"


def test_a_service_without_the_issuers_key_does_not_start(keys: Path, tmp_path: Path) -> None:
    process = started(keys, KEYS_DIR=str(tmp_path))
    out, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "BARECOUNT_KEYS_DIR must hold the issuer's" in out


REFUSING = """
from contextlib import asynccontextmanager
class Replaced(Exception):
    exit_status = 4
@asynccontextmanager
async def lifespan(app):
    raise {error}
    yield
serve(lambda settings: create_app(settings, title="Test", routers=[], appender=Appender(), lifespan=lifespan))
"""


@pytest.mark.parametrize(
    ("error", "status", "last"), [('Replaced("restore the newer log")', 4, "refused: restore the newer log\n"), ('ValueError("x")', 1, "")]
)
def test_a_service_that_a_person_must_decide_for_ends_with_its_own_status_and_its_words_last(
    keys: Path, error: str, status: int, last: str
) -> None:
    told = {
        "PATH": os.environ["PATH"],
        "BARECOUNT_SERVICE": "command",
        "BARECOUNT_KAFKA_BOOTSTRAP": "localhost:1",
        "BARECOUNT_KEYS_DIR": str(keys),
    }
    code = SERVICE.rpartition("serve(")[0].format(stop="...") + REFUSING.format(error=error)
    process = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, timeout=30, check=False)
    assert (process.returncode, process.stderr) == (status, last)


def test_sigterm_stops_cleanly_with_0_and_every_line_is_json(keys: Path) -> None:
    process = started(keys, LOG_LEVLE="info")
    lines = until_it_serves(process)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "stopped cleanly" in out
    assert all({"timestamp", "level", "event", "service"} <= set(line) for line in lines)
    misspelled = next(line for line in lines if line["event"] == "settings.unknown_variable")
    assert misspelled["nearest"] == "BARECOUNT_LOG_LEVEL"


def test_a_stop_that_hangs_ends_at_its_deadline(keys: Path) -> None:
    process = started(keys, stop="time.sleep(60)", STOP_SECONDS="1")
    until_it_serves(process)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert time.monotonic() - began < 10
    assert "service.stop_overdue" in out
