"""One process of the stack as the supervisor sees it: started, ended, started again with backoff, named with its last lines."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from . import record
from .errors import StackError
from .waiting import tail

FIRST_BACKOFF, LAST_BACKOFF = 0.5, 10.0
HEALTHY_SECONDS = 30.0
# a service's exit status when its read model is of another log than Kafka holds (eventlog.LogReplaced), and how its last words begin
REFUSES, REASON = 4, "refused: "
REFUSED_PAUSE = 5.0


class Process(Protocol):
    pid: int

    def alive(self) -> bool: ...
    @property
    def exit_code(self) -> int | None: ...
    def end(self, ask: signal.Signals, seconds: float) -> None: ...
    def kill(self) -> None: ...


class Member:
    """launch: starts the process, ready: a quick question whether it answers, ask: the signal that ends it cleanly."""

    def __init__(
        self,
        name: str,
        launch: Callable[[], Process],
        ready: Callable[[], bool],
        *,
        address: str,
        log: Path,
        ask: signal.Signals = signal.SIGTERM,
        patience: float = 20,
    ) -> None:
        self.name, self.address, self.log, self.ready = name, address, log, ready
        self._launch, self._ask, self._patience = launch, ask, patience
        self.process: Process | None = None
        self.restarts = 0
        self.last_error: str | None = None
        self.last_lines: list[str] = []
        self._backoff = FIRST_BACKOFF
        self._began = 0.0
        self._began_at: float | None = None
        self.again_at: float | None = None
        self.refused = False

    def start(self) -> None:
        """Starts it. Raises what the launch raises."""
        self.process = self._launch()
        self._began, self.again_at = time.monotonic(), None
        self._began_at = record.started(self.process.pid)

    def look(self) -> bool:
        """Notices a death and plans the restart, or restarts when that is due. Returns whether anything changed."""
        now = time.monotonic()
        if self.again_at is not None:
            if now < self.again_at:
                return False
            self._restart()
            return True
        if self.process is None or self.process.alive():
            return False
        if now - self._began >= HEALTHY_SECONDS:
            self._backoff = FIRST_BACKOFF
        self.refused = self.process.exit_code == REFUSES
        if self.refused:
            self.last_error, self.last_lines = f"{_now()} {self.name} refuses to start", _reason(tail(self.log))
            # only a person's repair helps; when it has come, the service should not be long in noticing
            self.again_at = now + REFUSED_PAUSE
        else:
            self.last_error = f"{_now()} {self.name} (pid {self.process.pid}) ended {_how(self.process.exit_code)}"
            self.last_lines = tail(self.log)
            self._plan()
        return True

    def end(self) -> None:
        self.again_at = None
        if self.process is not None:
            self.process.end(self._ask, self._patience)

    def row(self) -> dict[str, Any]:
        """What stack.json says of it."""
        lives = self.process is not None and self.process.alive()
        return {
            "name": self.name,
            "pid": self.process.pid if self.process and lives else None,
            "started": self._began_at if lives else None,
            "address": self.address,
            "log": str(self.log),
            "restarts": self.restarts,
            "refused": self.refused,
            "last_error": self.last_error,
            "last_lines": self.last_lines,
        }

    def _restart(self) -> None:
        self.restarts += 1
        try:
            self.start()
        except (StackError, OSError) as error:
            self.last_error, self.last_lines = f"{_now()} {self.name} could not be started again: {error}", tail(self.log)
            self._plan()

    def _plan(self) -> None:
        self.again_at = time.monotonic() + self._backoff
        self._backoff = min(self._backoff * 2, LAST_BACKOFF)


def _reason(lines: list[str]) -> list[str]:
    return [line.removeprefix(REASON) for line in lines if line.startswith(REASON)][-1:] or lines


def _how(code: int | None) -> str:
    if code is None:
        return "in an unknown way"
    if code < 0:
        return f"by signal {signal.Signals(-code).name}"
    return f"with status {code}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
