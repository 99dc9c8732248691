"""WebSockets by the rules of every call: refused before they open, opening and end recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import pytest
from barecount_chassis import Caller, Problem, Settings, create_app, require_socket, routes_without_permission
from fastapi import APIRouter, FastAPI, WebSocket

from .conftest import RecordingAppender

Token = Callable[..., str]


def sockets() -> APIRouter:
    router = APIRouter()

    @router.websocket("/ws")
    async def talk(websocket: WebSocket, caller: Annotated[Caller, require_socket("stream:read")], size: int = 1) -> None:
        if size == 0:
            raise Problem("cursor-invalid", "no size")
        await websocket.accept()
        await websocket.send_text(caller.tenant)
        if size == 9:
            raise RuntimeError("secret inside")
        await websocket.close(1000)

    return router


@pytest.fixture
def app(settings: Settings, appender: RecordingAppender) -> FastAPI:
    return create_app(settings, title="Test", routers=[sockets()], appender=appender)


async def opened(app: FastAPI, *, path: str = "/ws", query: str = "", authorization: str = "", offered: Sequence[str] = ()) -> list[Any]:
    """What the server sends to a handshake."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    headers = [(b"authorization", authorization.encode())] if authorization else []
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "subprotocols": list(offered),
        "client": ("10.0.0.1", 1),
        "server": ("test", 80),
        "scheme": "ws",
        "http_version": "1.1",
        "extensions": {"websocket.http.response": {}},
    }
    await app(scope, receive, send)  # type: ignore[arg-type]
    return sent


def status_of(sent: list[Any]) -> int:
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    return int(sent[0]["status"])


async def test_a_socket_without_a_token_is_refused_before_it_opens_and_recorded(app: FastAPI, appender: RecordingAppender) -> None:
    sent = await opened(app)
    assert status_of(sent) == 401
    assert b'"code":"unauthenticated"' in sent[1]["body"]
    (call,) = appender.calls
    assert (call["status"], call["problem_code"], call["phase"], call["method"]) == (401, "unauthenticated", "answered", "GET")


async def test_a_role_without_the_action_is_refused_before_it_opens_and_recorded(
    app: FastAPI, appender: RecordingAppender, token: Token
) -> None:
    async def nobody(*_: Any) -> Caller:
        return Caller("user:x", "acme", frozenset(), "x")

    app.user_middleware[0].kwargs["identity"].verify = nobody
    sent = await opened(app, authorization="Bearer x")
    assert status_of(sent) == 403
    (call,) = appender.calls
    assert (call["status"], call["action"], call["problem_code"]) == (403, "stream:read", "forbidden")


async def test_opening_and_end_are_two_records_and_the_opening_stands_before_the_accept(
    app: FastAPI, appender: RecordingAppender, token: Token
) -> None:
    appender.gate = asyncio.Event()
    opening = asyncio.ensure_future(opened(app, authorization=token()))
    while not appender.gate._waiters:  # type: ignore[attr-defined]  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert appender.calls == []
    appender.gate.set()
    sent = await opening
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert sent[1]["text"] == "acme"
    assert [(call["phase"], call["status"], call["route"], call["action"]) for call in appender.calls] == [
        ("opened", 101, "/ws", "stream:read"),
        ("closed", 101, "/ws", "stream:read"),
    ]


async def test_a_browser_brings_its_token_as_a_subprotocol(app: FastAPI, token: Token) -> None:
    raw = token().removeprefix("Bearer ")
    sent = await opened(app, offered=["barecount.v1", f"bearer.{raw}"])
    assert sent[0]["type"] == "websocket.accept"


async def test_a_socket_whose_opening_cannot_be_recorded_does_not_open(app: FastAPI, appender: RecordingAppender, token: Token) -> None:
    appender.fail = ConnectionError("broker gone")
    assert status_of(await opened(app, authorization=token())) == 503


async def test_a_refusal_of_the_route_is_the_answer_to_the_handshake(app: FastAPI, appender: RecordingAppender, token: Token) -> None:
    assert status_of(await opened(app, query="size=0", authorization=token())) == 400
    assert status_of(await opened(app, query="size=many", authorization=token())) == 422
    assert [call["problem_code"] for call in appender.calls] == ["cursor-invalid", "invalid-request"]


async def test_there_is_no_socket_at_other_paths(app: FastAPI, appender: RecordingAppender, token: Token) -> None:
    assert status_of(await opened(app, path="/nowhere", authorization=token())) == 404
    assert [call["status"] for call in appender.calls] == [404]


async def test_a_bug_after_the_opening_closes_the_socket_and_is_recorded(app: FastAPI, appender: RecordingAppender, token: Token) -> None:
    sent = await opened(app, query="size=9", authorization=token())
    assert (sent[-1]["type"], sent[-1]["code"]) == ("websocket.close", 1011)
    assert [call["phase"] for call in appender.calls] == ["opened", "closed"]


def test_a_socket_without_a_permission_keeps_the_app_from_being_built(settings: Settings, appender: RecordingAppender) -> None:
    router = APIRouter()

    @router.websocket("/open")
    async def talk(websocket: WebSocket) -> None: ...

    with pytest.raises(ValueError, match="GET /open"):
        create_app(settings, title="Test", routers=[router], appender=appender)


def test_pages_need_no_permission_but_what_stands_beside_them_does(settings: Settings, appender: RecordingAppender) -> None:
    async def shown(path: str = "") -> str:
        return path

    pages = APIRouter()
    pages.add_api_route("/", shown)
    pages.add_api_route("/ui/{path:path}", shown)
    app = create_app(settings, title="Test", routers=[pages], appender=appender, pages=("/", "/ui/"))
    assert routes_without_permission(app) == []
    pages.add_api_route("/ui/{path:path}", shown, methods=["POST"])
    pages.add_api_route("/uix", shown)
    with pytest.raises(ValueError, match=r"GET /uix, POST /ui/"):
        create_app(settings, title="Test", routers=[pages], appender=appender, pages=("/", "/ui/"))
