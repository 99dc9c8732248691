"""The fence with real processes: one is stopped by the kernel between its look and its commit, and woken after its successor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from barecount_worker.adapters import delta
from deltalake import DeltaTable

from .test_fence import publish, refused, revenues, target

ATTEMPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from barecount_worker.adapters import delta
from barecount_worker.domain.failure import StageFailed
from tests_fence import publish, target

where = target(Path({folder!r}))
seen = delta.look(where)
print("looked", flush=True)
sys.stdin.readline()
try:
    made = publish(where, 3, "1.00", seen=seen)
    print("published", made.already, flush=True)
except StageFailed as failure:
    print(failure.error_type.value, flush=True)
"""


@pytest.fixture
def frozen(tmp_path: Path) -> subprocess.Popen[str]:
    """An attempt with number 3 that has looked and is stopped before it commits."""
    (tmp_path / "tests_fence.py").write_text((Path(__file__).parent / "test_fence.py").read_text("utf-8"), "utf-8")
    code = ATTEMPT.format(here=str(tmp_path), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "looked\n"
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    process.stdin.write("go on\n")
    process.stdin.flush()
    return process


def woken(process: subprocess.Popen[str]) -> str:
    """What the attempt says when it goes on. Its exit code says nothing: delta-rs may abort at exit after a refused commit."""
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate(timeout=60)
    return said.strip()


def test_it_publishes_nothing_after_its_successor_published(frozen: subprocess.Popen[str], tmp_path: Path) -> None:
    where = target(tmp_path)
    assert not publish(where, 5, "2.00", superseded=(3,)).already
    before = DeltaTable(where.location).version()
    assert woken(frozen) == "fenced"
    assert DeltaTable(where.location).version() == before
    assert revenues(where) == ["2.00"]


def test_it_publishes_nothing_after_a_cancel_set_the_fence(frozen: subprocess.Popen[str], tmp_path: Path) -> None:
    where = target(tmp_path)
    assert delta.fence(where, 5, {}).before is None
    assert woken(frozen) == "fenced"
    assert revenues(where) == []


def test_it_publishes_when_nobody_took_its_place_and_its_successor_finds_that(frozen: subprocess.Popen[str], tmp_path: Path) -> None:
    where = target(tmp_path)
    assert woken(frozen) == "published False"
    found = publish(where, 5, "2.00", superseded=(3,))
    assert (found.already, found.number) == (True, 3)
    refused(lambda: publish(where, 2, "3.00"))
    assert revenues(where) == ["1.00"]
