"""WebSockets by the same rules as calls.py: who asks is known before the accept, opening and end are recorded, refusals are problems.

The token comes in the Authorization header or, from browsers, which cannot set it, as the offered subprotocol `bearer.<token>`. A refusal
is an HTTP answer to the handshake (ASGI's denial response), so a socket that is not allowed never opens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal

from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

from .problems import Problem
from .scope import Call

BEARER: Final = "bearer."
SWITCHED: Final = 101

Phase = Literal["answered", "opened", "closed"]
Record = Callable[[int, Phase], Awaitable[Problem | None]]


def authorization_of(scope: Scope) -> str | None:
    """The value of an Authorization header, taken from the subprotocols when there is none."""
    said = Headers(scope=scope).get("authorization")
    if said is not None:
        return said
    token = next((one.removeprefix(BEARER) for one in scope.get("subprotocols", ()) if one.startswith(BEARER)), None)
    return None if token is None else f"Bearer {token}"


class Handshake:
    """ASGI `send` of one socket: the accept waits for its record, and so does a refusal."""

    def __init__(self, call: Call, send: Send, record: Record) -> None:
        self._call, self._send, self._record = call, send, record
        self._held: list[Message] = []
        self.status, self.opened, self.refused, self.finished = 500, False, False, False

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if self.opened and kind.startswith("websocket.http.response."):
            raise RuntimeError("the route refused a WebSocket that it had accepted")
        if self.opened:
            self.finished = self.finished or kind == "websocket.close"
            await self._send(message)
        elif kind == "websocket.accept":
            await self._accept(message)
        elif kind == "websocket.close":
            # closing what was never accepted is a refusal without a reason; there is no such route, or the route said no
            await self.refuse(Problem("not-found", "there is no WebSocket at this path"))
        elif kind == "websocket.http.response.start":
            self.refused, self.status = True, message["status"]
            self._held.append(message)
        else:
            self._held.append(message)

    async def refuse(self, problem: Problem) -> None:
        """Holds a problem document as the handshake's answer, instead of what is held."""
        self._held.clear()
        self._call.problem_code = problem.code
        scope: Scope = {"type": "websocket"}
        await problem.response(self._call.request_id)(scope, _nothing, self)

    async def flush(self) -> None:
        for message in self._held:
            await self._send(message)
        self._held.clear()

    async def _accept(self, message: Message) -> None:
        missing = await self._record(SWITCHED, "opened")
        if missing is not None:
            raise missing
        self.status, self.opened = SWITCHED, True
        await self._send(message)


async def _nothing() -> Message:
    return {"type": "websocket.disconnect"}
