"""Which process a record means: the one that was started then, whatever the clock says since."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
from barecount_local.record import same_process, started


def test_a_process_stays_the_same_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    began = started(os.getpid())
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: real(process) + 8)
    assert same_process(os.getpid(), began)


def test_another_process_under_the_same_id_is_not_the_one_that_was_recorded() -> None:
    began = started(os.getpid())
    assert began is not None
    assert not same_process(os.getpid(), began - 1)
    assert not same_process(os.getpid(), None)


def test_a_process_that_has_ended_does_not_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began = started(child.pid)
    assert same_process(child.pid, began)
    child.kill()
    child.wait()
    assert not same_process(child.pid, began)
    assert started(child.pid) is None
