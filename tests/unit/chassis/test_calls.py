"""No answer without its record (DESIGN §2.6), and every refusal as a problem document."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, MutableMapping
from typing import Any

import httpx
import pytest
from barecount_chassis import Settings, create_app, openapi, route_permissions, routes_without_permission
from barecount_chassis.floods import Floods
from barecount_contracts import Envelope, Position
from barecount_contracts.rules import permissions
from fastapi import APIRouter, FastAPI

from .conftest import RecordingAppender, routes, running

Token = Callable[..., str]


async def test_an_answer_whose_record_is_not_acknowledged_is_withheld(
    client: httpx.AsyncClient, appender: RecordingAppender, token: Token
) -> None:
    appender.hang = True
    began = time.monotonic()
    for path, authorization in (("/things/one", token()), ("/things/one", ""), ("/nowhere", token())):
        answer = await client.get(path, headers={"Authorization": authorization})
        assert (answer.status_code, answer.json()["code"]) == (503, "evidence-unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert "tenant" not in answer.json()
    assert 1.4 < time.monotonic() - began < 2.5, "each waits 500 ms and no longer"


async def test_an_answer_whose_record_fails_is_withheld(client: httpx.AsyncClient, appender: RecordingAppender, token: Token) -> None:
    appender.fail = ConnectionError("broker gone")
    answer = await client.get("/things/one", headers={"Authorization": token()})
    assert (answer.status_code, answer.json()["code"]) == (503, "evidence-unavailable")
    assert "broker gone" not in answer.text


async def test_no_byte_goes_out_before_the_acknowledgement(app: FastAPI, appender: RecordingAppender, token: Token) -> None:
    appender.gate = asyncio.Event()
    sent: list[str] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(str(message["type"]))

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/things/one",
        "raw_path": b"/things/one",
        "query_string": b"",
        "headers": [(b"authorization", token().encode())],
        "client": ("10.0.0.1", 1),
        "server": ("test", 80),
        "scheme": "http",
        "http_version": "1.1",
    }
    answering = asyncio.ensure_future(app(scope, receive, send))  # type: ignore[arg-type]
    while not appender.gate._waiters:  # type: ignore[attr-defined]  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert sent == []
    appender.gate.set()
    await answering
    assert sent == ["http.response.start", "http.response.body"]


async def test_a_denied_call_is_recorded(client: httpx.AsyncClient, appender: RecordingAppender, token: Token) -> None:
    answer = await client.post("/things", json={"name": "x", "size": 1}, headers={"Authorization": token("auditor")})
    assert answer.status_code == 403
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["type"], problem["code"]) == ("https://barecount.io/problems/forbidden", "forbidden")
    assert "runs:start" in problem["detail"]
    (call,) = appender.calls
    assert (call["status"], call["action"], call["problem_code"]) == (403, "runs:start", "forbidden")
    assert problem["instance"] == f"urn:uuid:{call['request_id']}"
    topic, key, envelope = appender.records[0]
    assert (topic, key, envelope.tenant) == ("api.calls", "acme", "acme")
    assert envelope.principal is not None
    assert envelope.principal.startswith("user:")
    assert "ann@acme.example" not in envelope.to_bytes().decode()


async def test_an_unauthenticated_call_is_recorded_for_the_platform(client: httpx.AsyncClient, appender: RecordingAppender) -> None:
    answer = await client.post("/things", content=b"{not json")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="barecount"'
    (_, key, envelope) = appender.records[0]
    assert (key, envelope.tenant, envelope.principal) == ("platform", "platform", "anonymous")


async def test_an_allowed_read_is_recorded_with_its_route_and_query(
    client: httpx.AsyncClient, appender: RecordingAppender, token: Token
) -> None:
    answer = await client.get("/things/one?status=failed&token=abc", headers={"Authorization": token()})
    assert answer.json() == {"thing": "one", "tenant": "acme"}
    (call,) = appender.calls
    assert (call["route"], call["path"], call["status"]) == ("/things/{thing}", "/things/one", 200)
    assert call["query"] == {"status": "failed", "token": "***"}
    assert answer.headers["X-Request-Id"] == call["request_id"]
    assert "problem_code" not in call


async def test_a_write_is_recorded_with_the_digest_of_its_body(
    client: httpx.AsyncClient, appender: RecordingAppender, token: Token
) -> None:
    import hashlib

    body = b'{"name": "x", "size": 1}'
    headers = {"Authorization": token(), "Content-Type": "application/json"}
    assert (await client.post("/things", content=body, headers=headers)).status_code == 202
    assert appender.calls[0]["request_digest"] == f"sha256:{hashlib.sha256(body).hexdigest()}"


async def test_every_error_of_a_body_is_listed_with_its_pointer(client: httpx.AsyncClient, token: Token) -> None:
    answer = await client.post("/things", json={"size": "many"}, headers={"Authorization": token()})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid-request")
    assert {(one["in"], one["pointer"]) for one in problem["errors"]} == {("body", "/name"), ("body", "/size")}
    assert all(problem[member] for member in ("title", "detail", "instance", "remedy", "trace_id"))


async def test_what_is_not_there_and_what_is_not_taken_are_problems(client: httpx.AsyncClient, token: Token) -> None:
    headers = {"Authorization": token()}
    missing, wrong = await client.get("/nowhere", headers=headers), await client.delete("/things", headers=headers)
    assert (missing.status_code, missing.json()["code"]) == (404, "not-found")
    assert (wrong.status_code, wrong.json()["code"], wrong.headers["Allow"]) == (405, "method-not-allowed", "POST")


async def test_a_bug_is_an_internal_error_that_tells_nothing(client: httpx.AsyncClient, appender: RecordingAppender, token: Token) -> None:
    answer = await client.get("/bug", headers={"Authorization": token()})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "secret inside" not in answer.text
    assert appender.calls[0]["problem_code"] == "internal-error"


async def test_a_body_beyond_the_limit_is_refused(client: httpx.AsyncClient, token: Token) -> None:
    async def chunks() -> object:
        for _ in range(20):
            yield b"x" * 100_000

    headers = {"Authorization": token()}
    for body in (b"x" * 1_100_000, chunks()):
        answer = await client.post("/things", content=body, headers=headers)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (413, "payload-too-large")


@pytest.mark.parametrize(
    ("authorization", "size", "status"), [("", 100, 401), ("Bearer a.b.c", 100, 401), ("", 1_100_000, 401), (None, 1_100_000, 413)]
)
async def test_no_answer_overtakes_the_body_of_its_request(
    app: FastAPI, client: httpx.AsyncClient, token: Token, authorization: str | None, size: int, status: int
) -> None:
    """Users saw `peer closed connection without sending complete message body`: the edge cuts an answer that comes too early."""
    given = token() if authorization is None else authorization
    chunks, told = [b"x" * (size // 10)] * 10, list[str]()

    async def receive() -> dict[str, object]:
        told.append("body")
        return {"type": "http.request", "body": chunks.pop(), "more_body": bool(chunks)}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(str(message.get("status", "")))

    scope = {"type": "http", "method": "POST", "path": "/things", "query_string": b"", "headers": [(b"authorization", given.encode())]}
    await app(
        {**scope, "http_version": "1.1", "scheme": "http", "root_path": "", "server": ("test", 80), "client": ("::1", 1)}, receive, send
    )
    assert told == [*["body"] * 10, str(status), ""]


async def test_a_stream_records_its_opening_and_its_end(client: httpx.AsyncClient, appender: RecordingAppender, token: Token) -> None:
    answer = await client.get("/stream", headers={"Authorization": token()})
    assert answer.text == "one\ntwo\n"
    assert [call["phase"] for call in appender.calls] == ["opened", "closed"]
    assert len({envelope.id for _, _, envelope in appender.records}) == 2


async def test_a_stream_whose_opening_is_not_recorded_is_not_opened(
    client: httpx.AsyncClient, appender: RecordingAppender, token: Token
) -> None:
    appender.fail = ConnectionError()
    answer = await client.get("/stream", headers={"Authorization": token()})
    assert (answer.status_code, answer.json()["code"]) == (503, "evidence-unavailable")


async def test_a_stream_whose_opening_alone_fails_says_so(
    client: httpx.AsyncClient, appender: RecordingAppender, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = appender.append
    tries = 0

    async def first_fails(topic: str, key: str, envelope: Envelope) -> Position:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError
        return await good(topic, key, envelope)

    monkeypatch.setattr(appender, "append", first_fails)
    answer = await client.get("/stream", headers={"Authorization": token()})
    assert (answer.status_code, answer.json()["code"]) == (503, "evidence-unavailable")
    assert [(call["phase"], call["status"]) for call in appender.calls] == [("answered", 503)]


async def test_health_metrics_and_the_description_need_no_token_and_leave_no_record(
    app: FastAPI, client: httpx.AsyncClient, appender: RecordingAppender
) -> None:
    appender.hang = True
    for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json"):
        assert (await client.get(path)).status_code == 200
    assert "barecount_http_calls" in (await client.get("/metrics")).text


async def test_a_part_that_is_not_ready_shows_with_its_lag(app: FastAPI, client: httpx.AsyncClient) -> None:
    class Part:
        ready, failed = False, None

        def lag(self) -> dict[int, int]:
            return {0: 3, 1: 4}

    part = Part()
    app.state.health.add("projector", part)
    answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["projector"] == {"state": "starting", "lag": 7, "partitions": {"0": 3, "1": 4}}
    assert 'barecount_lag_records{component="command.projector",partition="1"} 4.0' in (await client.get("/metrics")).text
    part.ready = True
    assert (await client.get("/health/ready")).json()["ready"] is True
    part.failed = RuntimeError("secret")  # type: ignore[assignment]
    assert (await client.get("/health/live")).status_code == 503
    assert "secret" not in (await client.get("/health/ready")).text


async def test_a_flood_of_unauthenticated_calls_becomes_one_counted_record(app: FastAPI, appender: RecordingAppender, token: Token) -> None:
    async with running(app) as client:
        for _ in range(100):
            assert (await client.get("/things/one")).status_code == 401
        assert len(appender.calls) == 60
        assert (await client.get("/things/one", headers={"Authorization": token()})).status_code == 200
        assert len(appender.calls) == 61, "who has a token is recorded each time"
    assert len(appender.calls) == 62
    assert (appender.calls[-1]["count"], appender.calls[-1]["status"]) == (40, 401)
    assert "127.0.0.1" not in str(appender.calls[-1])


async def test_a_flood_is_counted_per_window_and_no_count_is_lost_when_its_record_fails() -> None:
    written: list[Envelope] = []
    broken = True
    done = asyncio.Event()

    async def append(envelope: Envelope) -> None:
        if broken:
            raise ConnectionError
        written.append(envelope)
        done.set()

    floods = Floods(append, service="command", limit=2, window=0.02)
    assert [floods.admit("a") for _ in range(5)] == [True, True, False, False, False]
    assert floods.admit("b")
    await asyncio.sleep(0.03)  # the first window's record has failed by now
    broken = False
    await asyncio.wait_for(done.wait(), 5)
    assert sum(envelope.data["count"] for envelope in written) == 3


def test_a_route_without_a_permission_keeps_the_app_from_being_built(settings: Settings, appender: RecordingAppender) -> None:
    router = APIRouter()
    router.add_api_route("/open", lambda: None)
    with pytest.raises(ValueError, match="GET /open"):
        create_app(settings, title="Test", routers=[router], appender=appender)


def test_every_route_asks_for_one_permission(app: FastAPI) -> None:
    assert routes_without_permission(app) == []
    assert route_permissions(app)["POST /things"] == "runs:start"
    app.add_api_route("/later", lambda: None)
    assert routes_without_permission(app) == ["GET /later"]


@pytest.mark.parametrize("role", sorted(permissions().roles.keys() - {"service"}))
async def test_every_role_passes_exactly_the_routes_that_permissions_yaml_gives_it(
    settings: Settings, appender: RecordingAppender, token: Token, role: str
) -> None:
    app = create_app(settings, title="Test", routers=[routes()], appender=appender)
    async with running(app) as client:
        for route, action in route_permissions(app).items():
            method, path = route.split(" ")
            if action is None:
                continue
            answer = await client.request(method, path.replace("{thing}", "one"), headers={"Authorization": token(role)})
            assert (answer.status_code == 403) == (action not in permissions().roles[role]), f"{role} {route}"


def test_the_description_can_be_made_offline(app: FastAPI) -> None:
    found = openapi(app)
    assert "/things/{thing}" in found["paths"]
    write = found["paths"]["/things"]["post"]
    assert write["security"] == [{"HTTPBearer": []}]
    assert set(write["responses"]["422"]["content"]) == {"application/problem+json"}
    assert "/health/live" not in found["paths"]
