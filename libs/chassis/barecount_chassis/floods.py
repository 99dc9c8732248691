"""Unauthenticated calls of one source beyond a limit become one counted record a minute, so that nobody can fill the log."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from barecount_contracts import PLATFORM, Envelope
from barecount_contracts.records import ApiCalled

from . import telemetry

LIMIT: Final = 60
WINDOW_SECONDS: Final = 60.0
MAX_SOURCES: Final = 10_000


@dataclass(slots=True)
class _Window:
    began: datetime
    calls: int = 0
    counted: int = 0


class Floods:
    """Counts per source. `append` writes a finished record; a count whose record fails is carried into the next one."""

    def __init__(
        self, append: Callable[[Envelope], Awaitable[object]], *, service: str, limit: int = LIMIT, window: float = WINDOW_SECONDS
    ) -> None:
        self._append, self._service, self._limit, self._window = append, service, limit, window
        self._windows: dict[str, _Window] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def admit(self, source: str) -> bool:
        """Whether this unauthenticated call gets a record of its own; if not, it is counted."""
        if source not in self._windows and len(self._windows) >= MAX_SOURCES:
            source = "others"  # memory stays bounded under a distributed flood
        window = self._windows.get(source)
        if window is None:
            window = self._windows[source] = _Window(datetime.now(UTC))
            asyncio.get_running_loop().call_later(self._window, self._end, source)
        window.calls += 1
        if window.calls <= self._limit:
            return True
        if window.counted == 0:
            telemetry.logger().warning(telemetry.FLOOD_STARTED, source=pseudonym(source))
        window.counted += 1
        telemetry.FLOODED.inc()
        return False

    async def flush(self) -> None:
        """At a clean stop: writes what is counted."""
        for source in list(self._windows):
            self._end(source)
        if self._writing:
            await asyncio.gather(*self._writing)

    def _end(self, source: str) -> None:
        window = self._windows.pop(source, None)
        if window is not None and window.counted:
            task = asyncio.ensure_future(self._write(source, window))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self, source: str, window: _Window) -> None:
        identity = uuid4()
        payload = ApiCalled(
            request_id=str(identity),
            service=self._service,
            method="*",
            route="*",
            path="*",
            status=401,
            problem_code="unauthenticated",
            query={"source": pseudonym(source)},
            duration_ms=round(self._window * 1000),
            received=window.began,
            count=window.counted,
        )
        envelope = Envelope(
            id=identity,
            type=payload.TYPE,
            version=payload.VERSION,
            tenant=PLATFORM,
            principal="anonymous",
            time=window.began,
            correlation=identity,
            data=payload.to_data(),
        )
        try:
            await self._append(envelope)
        except Exception as error:
            telemetry.logger().error(telemetry.CALL_UNRECORDED, request_id=str(identity), why=repr(error))
            self._carry(source, window)

    def _carry(self, source: str, window: _Window) -> None:
        running = self._windows.get(source)
        if running is None:
            self._windows[source] = _Window(window.began, self._limit, window.counted)
            asyncio.get_running_loop().call_later(self._window, self._end, source)
        else:
            running.began, running.counted = window.began, running.counted + window.counted


def pseudonym(source: str) -> str:
    """A network address is a person's data: records carry 16 hex digits of its SHA-256."""
    return "source:" + hashlib.sha256(source.encode()).hexdigest()[:16]
