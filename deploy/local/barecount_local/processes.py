"""A server as a child process: started with its log, asked whether it lives, ended so that nothing is left."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import NotReady
from .waiting import POLL_SECONDS, explain

PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """One external program. `ends_with_parent` is for tests: a killed test run leaves no server behind."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        group: int | None = None,
        cwd: Path | None = None,
        ends_with_parent: bool = False,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        options: dict[str, Any] = {} if user is None else {"user": user, "group": group, "extra_groups": []}
        before: Callable[[], None] | None = _end_with_parent if ends_with_parent else None
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(environment if environment is not None else os.environ),
                cwd=cwd,
                # its own group: a Ctrl-C in the terminal must not reach it before the supervisor has ended what depends on it
                process_group=0,
                preexec_fn=before,
                **options,
            )
        self.pid = self._popen.pid

    def alive(self) -> bool:
        return self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What the process ended with: a negative number is a signal; None while it lives."""
        return self._popen.poll()

    def end(self, ask: signal.Signals, seconds: float) -> None:
        """Asks with a signal, waits, and kills what does not go in time. Raises NotReady when even that leaves it."""
        if not self.alive():
            return
        self._popen.send_signal(ask)
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if self.alive():
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and waits until it is gone."""
        if self.alive():
            self._popen.kill()
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired as stuck:
            raise NotReady(explain(f"pid {self.pid} does not die of SIGKILL: the kernel holds it", self.log)) from stuck
