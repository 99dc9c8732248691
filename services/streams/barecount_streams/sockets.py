"""The stream over a WebSocket: JSON objects {"id", "event", "data"}, the same events and positions as over /stream.

The client may send, at any time, {"resume": <id>, "type": [...], "kind": [...], "pipeline": [...], "run_id": [...]}, every member optional:
the stream goes on from there (else from where it stands) with these filters, after another `open`. A heartbeat is an event of that name
without data. What cannot be understood is answered with an event `problem`, and the stream goes on as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any, Final

from barecount_chassis import Caller, Problem
from starlette.websockets import WebSocket, WebSocketDisconnect

from .desk import Desk, selection_of
from .follower import Follower
from .ring import Entry
from .session import Reason, Session, compact

PROTOCOL: Final = "barecount.v1"
BEARER: Final = "bearer."
# RFC 6455 §7.4.1 and the IANA registry
CLOSE_CODES: Final[dict[Reason, int]] = {"token-expired": 3000, "stopping": 1012, "slow": 1013, "failed": 1011, "gone": 1000}
LONGEST_MESSAGE: Final = 20_000


class SocketWire:
    name = "websocket"

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def changes(self, entries: Sequence[Entry], follower: Follower) -> None:
        for entry in entries:
            # the text is JSON already
            cursor = follower.cursor_after(entry)
            await self._websocket.send_text(f'{{"id":"{cursor}","event":"{entry.told.type}","data":{entry.text}}}')

    async def note(self, event: str, data: dict[str, Any], cursor: str | None) -> None:
        await self._websocket.send_text(compact({"id": cursor, "event": event, "data": data}))

    async def heartbeat(self, cursor: str) -> None:
        await self._websocket.send_text(compact({"id": cursor, "event": "heartbeat", "data": None}))


async def serve_socket(websocket: WebSocket, desk: Desk, caller: Caller, follower: Follower) -> None:
    """Accepts, follows, closes with the code of the reason."""
    await websocket.accept(subprotocol=_chosen(websocket.scope.get("subprotocols", [])))
    wire, inbound = SocketWire(websocket), _Inbound(websocket)
    while True:
        asked = asyncio.create_task(inbound.next())
        session = Session(wire, desk.pace, expires=caller.expires, stopping=desk.stopping)
        try:
            reason = await session.run(follower, asyncio.shield(asked))
        finally:
            if not asked.done():
                asked.cancel()
        message = asked.result() if asked.done() and not asked.cancelled() else None
        if reason != "gone" or message is None:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await websocket.close(CLOSE_CODES[reason], reason)
            return
        follower = await _turned(wire, desk, caller, follower, message)


class _Inbound:
    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def next(self) -> str | None:
        """The next text of the client; None when it has gone."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text = message.get("text")
        return text if text is not None else ""


async def _turned(wire: SocketWire, desk: Desk, caller: Caller, follower: Follower, message: str) -> Follower:
    """A follower as the client's message asks, or the same one after telling why not."""
    try:
        asked = _parsed(message)
        selection = selection_of(*(asked[name] for name in ("type", "kind", "pipeline", "run_id")))
        cursor = asked["resume"] or follower.cursor
        return await desk.follower(caller, selection, cursor, None)
    except Problem as problem:
        await wire.note("problem", problem.document(), None)
        return follower


def _parsed(message: str) -> dict[str, Any]:
    """Raises: Problem `invalid-request`."""
    names = ("type", "kind", "pipeline", "run_id")
    try:
        told = json.loads(message) if len(message) <= LONGEST_MESSAGE else None
    except ValueError:
        told = None
    if not isinstance(told, dict) or told.keys() - {"resume", *names}:
        raise Problem("invalid-request", f"a message is one JSON object with resume, {', '.join(names)}, each optional")
    lists = {name: told.get(name, []) for name in names}
    if not all(isinstance(values, list) and all(isinstance(one, str) for one in values) for values in lists.values()):
        raise Problem("invalid-request", f"{', '.join(names)} are lists of text")
    resume = told.get("resume")
    if resume is not None and not isinstance(resume, str):
        raise Problem("invalid-request", "resume is the last id that you got, as text")
    return {**lists, "resume": resume}


def _chosen(offered: Sequence[str]) -> str | None:
    """A browser fails when it offers protocols and none is chosen; the one with the token is only chosen when it stands alone."""
    if PROTOCOL in offered:
        return PROTOCOL
    return next((one for one in offered if one.startswith(BEARER)), None)
