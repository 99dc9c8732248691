"""No answer without its record (DESIGN §2.6): every call, allowed or denied, read or write, is in api.calls before it is answered.

A pure ASGI middleware. It authenticates (no route is reached without a caller), holds the answer back until the broker has
acknowledged the ApiCalled record, and answers `evidence-unavailable` instead when that takes longer than 500 ms. A route that
streams marks its call (`streams`): then its opening is recorded before the first byte and its end afterwards. So it is with a WebSocket
(sockets.py). Pages of the app hold no data: they need no token and no record, as /openapi.json.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Final, Literal
from uuid import UUID, uuid4

from barecount_contracts import PLATFORM, Envelope, Position, bytes_digest
from barecount_contracts.records import ApiCalled
from opentelemetry import context as otel_context
from opentelemetry.trace import SpanKind
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import telemetry
from .bus import Appends
from .floods import Floods
from .identity import Identity
from .problems import Problem
from .scope import ANONYMOUS, Call, begin, call_of
from .sockets import Handshake, authorization_of

TOPIC: Final = "api.calls"
DEADLINE_SECONDS: Final = 0.5
MAX_BODY: Final = 1_048_576
# a little more than the edge lets through
MAX_DRAINED: Final = 4_194_304
EXEMPT: Final = frozenset({"/health/live", "/health/ready", "/metrics", "/openapi.json"})
SECRET_QUERY: Final = frozenset({"token", "access_token", "id_token", "signature", "password", "secret", "key"})


def is_page(path: str, pages: Sequence[str]) -> bool:
    """pages: exact paths; one that ends in a slash stands for everything below it too, except the root."""
    return path in pages or any(path.startswith(page) for page in pages if page.endswith("/") and page != "/")


async def streams(request: Request) -> None:
    """Marks the call as one whose answer is streamed: opening and end are recorded, the bytes between are not held back."""
    call = call_of(request.scope)
    if call is not None:
        call.streaming = True


class RecordedCalls:
    """The middleware. `deadline` is in seconds; `floods` counts unauthenticated calls per source; `pages`: see is_page."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: str,
        identity: Identity,
        appender: Appends,
        floods: Floods,
        deadline: float = DEADLINE_SECONDS,
        pages: Sequence[str] = (),
    ) -> None:
        self._app, self._service, self._identity, self._appender = app, service, identity, appender
        self._floods, self._deadline, self._pages = floods, deadline, tuple(pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._answer_socket(scope, receive, send)
        elif scope["type"] != "http" or scope["path"] in EXEMPT or self._shows_page(scope):
            await self._app(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(request_id=uuid4(), received=datetime.now(UTC), started=perf_counter())
        begin(scope, call)
        carried = {name: value.encode("latin-1") for name, value in Headers(scope=scope).items() if name in ("traceparent", "tracestate")}
        token = otel_context.attach(telemetry.extract(carried))
        try:
            with telemetry.tracer().start_as_current_span(telemetry.SPAN_HTTP, kind=SpanKind.SERVER) as span:
                answer = _Answer(call, send, lambda status: self._record(scope, call, status, "opened"))
                await self._run(scope, receive, answer, call)
                span.set_attribute("http.request.method", scope["method"])
                span.set_attribute("http.route", _route(scope))
                span.set_attribute("http.response.status_code", answer.status)
                await self._release(scope, call, answer)
        finally:
            otel_context.detach(token)

    def _shows_page(self, scope: Scope) -> bool:
        return scope["method"] in ("GET", "HEAD") and is_page(scope["path"], self._pages)

    async def _answer_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(request_id=uuid4(), received=datetime.now(UTC), started=perf_counter())
        begin(scope, call)
        shake = Handshake(call, send, lambda status, phase: self._record(scope, call, status, phase))
        try:
            call.caller = await self._identity.verify(authorization_of(scope))
            await self._app(scope, receive, shake)
            if not shake.opened and not shake.refused:
                raise RuntimeError("the route of a WebSocket neither accepted nor refused it")
        except Exception as raised:
            if shake.opened:
                telemetry.logger().exception(telemetry.CALL_FAILED, request_id=str(call.request_id))
                if not shake.finished:
                    with contextlib.suppress(Exception):
                        await send({"type": "websocket.close", "code": 1011})
            else:
                await shake.refuse(self._as_problem(raised, call))
        finally:
            if shake.opened and await self._record(scope, call, shake.status, "closed") is not None:
                telemetry.logger().error(telemetry.CALL_CLOSE_UNRECORDED, request_id=str(call.request_id))
            telemetry.HTTP_CALLS.labels("GET", _route(scope), str(shake.status)).inc()
        if not shake.opened:
            counted = call.caller is None and not self._floods.admit(_source(scope))
            missing = None if counted else await self._record(scope, call, shake.status, "answered")
            if missing is not None:
                await shake.refuse(missing)
            await shake.flush()

    async def _run(self, scope: Scope, receive: Receive, answer: _Answer, call: Call) -> None:
        """Runs the route. Whatever it raises becomes a problem document in `answer`."""
        try:
            # whoever asks: an answer that overtakes its request's body is cut off by the edge (Go's proxy ends the connection)
            body = await _read(scope, receive)
            call.caller = await self._identity.verify(Headers(scope=scope).get("authorization"))
            if body is None:
                raise Problem("payload-too-large", f"the request body is larger than {MAX_BODY} bytes")
            call.request_digest = bytes_digest(body) if body else None
            await self._app(scope, _replay(body, receive), answer)
            if not answer.finished and not answer.passed:
                raise RuntimeError("the route ended without a whole answer")
        except Exception as raised:
            # the framework wraps what a `send` raises, so the reason is kept beside it
            error = answer.unopened or raised
            if answer.passed:
                # part of a stream is out: the connection is cut, which is how HTTP says so; the end is recorded below
                telemetry.logger().exception(telemetry.CALL_FAILED, request_id=str(call.request_id))
                answer.broken = error
                return
            await answer.replace(self._as_problem(error, call), scope, receive)

    def _as_problem(self, error: Exception, call: Call) -> Problem:
        if isinstance(error, Problem):
            return error
        telemetry.logger().exception(telemetry.CALL_FAILED, request_id=str(call.request_id))
        return Problem("internal-error", "the service could not answer; its log has the cause under this trace id", **call.standing)

    async def _release(self, scope: Scope, call: Call, answer: _Answer) -> None:
        phase: Literal["answered", "closed"] = "closed" if answer.passed else "answered"
        counted = call.caller is None and not self._floods.admit(_source(scope))
        missing = None if counted else await self._record(scope, call, answer.status, phase)
        if missing is not None and answer.passed:
            telemetry.logger().error(telemetry.CALL_CLOSE_UNRECORDED, request_id=str(call.request_id))
        elif missing is not None:
            await answer.replace(_withheld(missing, call), scope, None)
        method, route = scope["method"], _route(scope)
        telemetry.HTTP_CALLS.labels(method, route, str(answer.status)).inc()
        telemetry.HTTP_SECONDS.labels(method, route).observe(perf_counter() - call.started)
        if answer.broken is not None:
            raise answer.broken
        await answer.flush()

    async def _record(self, scope: Scope, call: Call, status: int, phase: Literal["answered", "opened", "closed"]) -> Problem | None:
        """Appends the call's record. None when it is acknowledged, else the problem to answer with."""
        payload = ApiCalled(
            request_id=str(call.request_id),
            service=self._service,
            # the handshake of a WebSocket is a GET
            method=scope.get("method", "GET"),
            route=_route(scope),
            path=scope["path"][:1024],
            status=status,
            action=call.action,
            problem_code=call.problem_code,
            command_id=call.command_id,
            request_digest=call.request_digest,
            query={name[:100]: "***" if name.lower() in SECRET_QUERY else value[:200] for name, value in _query(scope).items()},
            duration_ms=round((perf_counter() - call.started) * 1000),
            received=call.received,
            phase=phase,
        )
        # opening and end of one stream are two records
        identity = call.request_id if phase != "closed" else uuid4()
        tenant, principal = (call.caller.tenant, call.caller.principal) if call.caller else (PLATFORM, ANONYMOUS)
        return await self._acknowledged(envelope_of(payload, identity, tenant, principal, call.correlation, call.received))

    async def _acknowledged(self, envelope: Envelope) -> Problem | None:
        append = asyncio.ensure_future(self._appender.append(TOPIC, envelope.tenant, envelope))
        with telemetry.EVIDENCE_SECONDS.time():
            # not wait_for: that would wait on for an append that does not let itself be cancelled
            done, _ = await asyncio.wait({append}, timeout=self._deadline)
        if done and append.exception() is None:
            return None
        append.cancel()
        append.add_done_callback(_silence)
        telemetry.EVIDENCE_MISSING.inc()
        why = repr(append.exception()) if done and not append.cancelled() else f"no acknowledgement in {self._deadline:g} s"
        telemetry.logger().error(telemetry.CALL_UNRECORDED, request_id=str(envelope.id), why=why)
        return Problem("evidence-unavailable", "the record of this call was not acknowledged, so its answer is withheld")


def _withheld(missing: Problem, call: Call) -> Problem:
    """The same, and what a caller needs who must not send an accepted command as a new one."""
    if not call.accepted:
        return missing
    said = f"{missing.detail}; the command {call.command_id} is accepted and will be decided"
    return Problem(missing.code, said, **call.standing)


class _Answer:
    """Takes an app's answer as ASGI `send`: held until `flush`, or passed on once the opening of a stream is recorded."""

    def __init__(self, call: Call, send: Send, opened: Callable[[int], Awaitable[Problem | None]]) -> None:
        self._call, self._send, self._opened = call, send, opened
        self._held: list[Message] = []
        self.status, self.finished, self.passed = 500, False, False
        self.broken: Exception | None = None
        self.unopened: Problem | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(raw=message.setdefault("headers", []))["X-Request-Id"] = str(self._call.request_id)
            if self._call.streaming and self.status < 400:
                problem = await self._opened(self.status)
                if problem is not None:
                    self.unopened = problem
                    raise problem
                self.passed = True
        self.finished = message["type"] == "http.response.body" and not message.get("more_body", False)
        if self.passed:
            await self._send(message)
        else:
            self._held.append(message)

    async def replace(self, problem: Problem, scope: Scope, receive: Receive | None) -> None:
        """Drops what is held and holds a problem document instead."""
        self._held.clear()
        self._call.streaming, self._call.problem_code, self.unopened = False, problem.code, None
        await problem.response(self._call.request_id)(scope, receive or _nothing, self)

    async def flush(self) -> None:
        for message in self._held:
            await self._send(message)
        self._held.clear()


def envelope_of(payload: ApiCalled, identity: UUID, tenant: str, principal: str, correlation: UUID, time: datetime) -> Envelope:
    return Envelope(
        id=identity,
        type=payload.TYPE,
        version=payload.VERSION,
        tenant=tenant,
        principal=principal,
        time=time,
        correlation=correlation,
        data=payload.to_data(),
    )


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """The whole request body; None when it is larger than MAX_BODY (then it was read to its end, or up to MAX_DRAINED, and dropped)."""
    said = Headers(scope=scope).get("content-length", "")
    if said.isdigit() and int(said) > MAX_DRAINED:
        return None
    parts, size, more = list[bytes](), 0, True
    while more and size <= MAX_DRAINED:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        part = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY:
            parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts) if size <= MAX_BODY else None


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _silence(append: asyncio.Future[Position]) -> None:
    with contextlib.suppress(BaseException):
        append.exception()


def _route(scope: Scope) -> str:
    found = getattr(scope.get("route"), "path", None)
    return found if isinstance(found, str) else "unknown"


def _query(scope: Scope) -> dict[str, str]:
    return dict(list(QueryParams(scope.get("query_string", b"")).items())[:50])


def _source(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"
