"""One open stream, whatever carries it: what is sent when, and why it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

import structlog

from . import metrics
from .follower import Follower
from .ring import Entry

log = structlog.get_logger(__name__)

Reason = Literal["gone", "slow", "token-expired", "stopping", "failed"]
# what the client is told; who is gone or does not read cannot be told anything
TOLD: Final[dict[str, str]] = {
    "token-expired": "your token has expired: come back with a new one and your last id",
    "stopping": "this server stops: come back with your last id",
    "failed": "the log could not be read: come back with your last id",
}


class Wire(Protocol):
    """How a transport writes. Each call returns when the client's side has room again."""

    name: str

    async def changes(self, entries: Sequence[Entry], follower: Follower) -> None: ...

    async def note(self, event: str, data: dict[str, Any], cursor: str | None) -> None:
        """Something about the stream itself. Without a cursor the client's position stays as it is."""
        ...

    async def heartbeat(self, cursor: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. heartbeat: between two signs of life. slow: for how long a client may not read before it is cut."""

    heartbeat: float = 15.0
    slow: float = 30.0


class Session:
    """Follows until one of the reasons. `expires`: when the caller's token does; `stopping`: set when the process ends."""

    def __init__(self, wire: Wire, pace: Pace, *, expires: datetime | None, stopping: asyncio.Event) -> None:
        self._wire, self._pace, self._expires, self._stopping = wire, pace, expires, stopping

    async def run(self, follower: Follower, gone: Awaitable[object]) -> Reason:
        """Ends when `gone` does, or with the token, the process or the client's patience. The client has been told, if it can be."""
        pump = asyncio.create_task(self._pump(follower), name="stream-pump")
        left = asyncio.ensure_future(gone)
        stop = asyncio.create_task(self._stopping.wait())
        tasks: set[asyncio.Future[Any]] = {pump, left, stop}
        metrics.CLIENTS.labels(self._wire.name).inc()
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._seconds_left(), return_when=asyncio.FIRST_COMPLETED)
            reason: Reason = "gone" if left in done else "stopping" if stop in done else "token-expired"
            if pump in done and left not in done:
                reason = self._why(pump)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await follower.close()
            metrics.CLIENTS.labels(self._wire.name).dec()
        metrics.ENDED.labels(self._wire.name, reason).inc()
        if reason in TOLD:
            await self._say(reason)
        elif reason == "slow":
            log.warning("stream-cut", transport=self._wire.name, after=self._pace.slow)
        return reason

    async def _pump(self, follower: Follower) -> None:
        opened = {"heartbeat_seconds": self._pace.heartbeat}
        if self._expires is not None:
            opened["expires"] = self._expires.isoformat()  # type: ignore[assignment]
        await self._written(self._wire.note("open", opened, follower.cursor))
        while True:
            taken = await follower.take(self._pace.heartbeat)
            if taken.gap is not None:
                await self._written(self._wire.note("gap", taken.gap.data(), follower.cursor))
            elif taken.entries:
                await self._written(self._wire.changes(taken.entries, follower))
                metrics.SENT.labels(self._wire.name).inc(len(taken.entries))
            else:
                await self._written(self._wire.heartbeat(follower.cursor))

    async def _written(self, writing: Awaitable[None]) -> None:
        """Raises: _Slow when the client does not read for too long."""
        try:
            async with asyncio.timeout(self._pace.slow):
                await writing
        except TimeoutError as error:
            raise _Slow from error

    def _why(self, pump: asyncio.Task[None]) -> Reason:
        error = pump.exception()
        if isinstance(error, _Slow):
            return "slow"
        log.error("stream-failed", transport=self._wire.name, exc_info=error)
        return "failed"

    async def _say(self, reason: str) -> None:
        try:
            async with asyncio.timeout(1.0):
                await self._wire.note("end", {"reason": reason, "detail": TOLD[reason]}, None)
        except Exception:
            # it went, or does not read: its last id is good all the same
            return

    def _seconds_left(self) -> float | None:
        return None if self._expires is None else max(0.0, (self._expires - datetime.now(UTC)).total_seconds())


class _Slow(Exception):
    """The client's side had no room for longer than it may."""


def compact(data: dict[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)
