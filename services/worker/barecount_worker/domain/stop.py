"""The wish that a task stops, and what to call when it comes (a running query's interrupt): nobody polls for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stop:
    """Set once, from any thread. Calling it tells whether it is set, so that it serves as `should_stop`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._calls: list[Callable[[], None]] = []

    def __call__(self) -> bool:
        return self._reason is not None

    @property
    def reason(self) -> str:
        return self._reason or ""

    def set(self, reason: str) -> None:
        """Ask to stop; the first reason stands."""
        with self._lock:
            self._reason = self._reason or reason or "asked to stop"
            for call in self._calls:
                call()

    @contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """While inside, `call` runs as soon as the stop is set (at once when it already is)."""
        with self._lock:
            self._calls.append(call)
            if self._reason is not None:
                call()
        try:
            yield
        finally:
            with self._lock:
                self._calls.remove(call)
