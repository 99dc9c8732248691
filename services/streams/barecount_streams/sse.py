"""Server-sent events (WHATWG HTML §9.2): one response that does not end by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .follower import Follower
from .ring import Entry
from .session import Session, compact

MEDIA_TYPE: Final = "text/event-stream"
RETRY_MS: Final = 2_000


class EventWire:
    """Writes frames. A heartbeat is a frame of an id alone: it moves Last-Event-ID and dispatches nothing."""

    name = "sse"

    def __init__(self) -> None:
        self.send: Send | None = None

    async def changes(self, entries: Sequence[Entry], follower: Follower) -> None:
        await self._body(b"".join([_frame(entry, follower) for entry in entries]))

    async def note(self, event: str, data: dict[str, Any], cursor: str | None) -> None:
        first = f"retry: {RETRY_MS}\n" if event == "open" else ""
        place = f"id: {cursor}\n" if cursor is not None else ""
        await self._body(f"{first}{place}event: {event}\ndata: {compact(data)}\n\n".encode())

    async def heartbeat(self, cursor: str) -> None:
        await self._body(f"id: {cursor}\n\n".encode())

    async def _body(self, frames: bytes) -> None:
        assert self.send is not None
        await self.send({"type": "http.response.body", "body": frames, "more_body": True})


class EventStream(Response):
    """The answer: headers, then the session until it ends. `closed` is told once, however it ends."""

    media_type = MEDIA_TYPE

    def __init__(self, session: Session, wire: EventWire, follower: Follower, closed: Callable[[], None]) -> None:
        self._session, self._wire, self._follower, self._closed = session, wire, follower, closed
        # a proxy that compresses or buffers would hold changes back
        super().__init__(headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._wire.send = send
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            reason = await self._session.run(self._follower, _disconnected(receive))
            # without the last chunk the server cuts the connection: who does not read cannot be told more
            if reason not in ("gone", "slow"):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._follower.close()
            self._closed()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _frame(entry: Entry, follower: Follower) -> bytes:
    if entry.frame is None:
        entry.frame = f"id: {follower.cursor_after(entry)}\nevent: {entry.told.type}\ndata: {entry.text}\n\n".encode()
    return entry.frame
