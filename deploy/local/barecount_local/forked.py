"""A service process: forked from the preloaded supervisor, so that it starts in milliseconds and shares its memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .errors import NotReady
from .waiting import POLL_SECONDS, explain

PR_SET_NAME = 15


class Forked:
    """Same face as processes.Child. `load` is called in the new process and gives the function that runs until the end.

    closing: file descriptors of the parent that must not live on here (the lock: else an orphan would hold it).
    """

    def __init__(
        self, name: str, load: Callable[[], Callable[[], None]], *, environment: Mapping[str, str], log: Path, closing: Sequence[int] = ()
    ) -> None:
        self.log = log
        self._exit_code: int | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _run(name, load, environment, log, closing)

    def alive(self) -> bool:
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """What the process ended with: a negative number is a signal; None while it lives."""
        if self._exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code

    def end(self, ask: signal.Signals, seconds: float) -> None:
        """Asks with a signal, waits, and kills what does not go in time."""
        self.ask(ask)
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self.kill()

    def ask(self, number: signal.Signals) -> None:
        if self.alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and waits until it is gone. Raises NotReady when the kernel holds it."""
        self.ask(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while self.alive():
            if time.monotonic() > deadline:
                raise NotReady(explain(f"pid {self.pid} does not die of SIGKILL: the kernel holds it", self.log))
            time.sleep(POLL_SECONDS)


def _run(name: str, load: Callable[[], Callable[[], None]], environment: Mapping[str, str], log: Path, closing: Sequence[int]) -> None:
    """The child's whole life: it never returns into the supervisor's code."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        for descriptor in closing:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_NAME, f"bc-{name}".encode()[:15], 0, 0, 0)
        os.environ.update(environment)
        load()()
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 0 if done.code is None else 1
        if isinstance(done.code, str):
            sys.stderr.write(done.code + "\n")
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
