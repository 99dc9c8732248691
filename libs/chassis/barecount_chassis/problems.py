"""Every refusal over HTTP is one document (RFC 9457, application/problem+json) of a type that contracts/problems.yaml lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from barecount_contracts.rules import problem_type
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from . import telemetry

MEDIA_TYPE: Final = "application/problem+json"
TYPES: Final = "https://barecount.io/problems/"

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "detail", "code", "remedy"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened, to which thing"},
        "instance": {"type": "string", "description": "urn:uuid of this call, as in its record; a 404 has it in X-Request-Id only"},
        "code": {"type": "string", "description": "A row of contracts/problems.yaml"},
        "remedy": {"type": "string", "description": "What to do now"},
        "trace_id": {"type": "string"},
        "command_id": {
            "type": "string",
            "format": "uuid",
            "description": "The command that this is about: /commands/{command_id} shows it",
        },
        "idempotency_key": {"type": "string", "description": "Send the request again with this Idempotency-Key: nothing happens twice"},
        "errors": {"type": "array", "items": {"type": "object"}},
        "extra": {"type": "object"},
    },
}


class Problem(Exception):
    """A refusal: a code of contracts/problems.yaml, what happened to which thing, and members that a program may want.

    Raises: KeyError when problems.yaml has no such code; add a row there first.
    """

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.type = problem_type(code)
        self.code, self.detail, self.headers, self.members = code, detail, dict(headers or {}), members
        if self.status == 503:
            self.headers.setdefault("Retry-After", "1")

    @property
    def status(self) -> int:
        return self.type.status

    def document(self, request_id: UUID | None = None) -> dict[str, Any]:
        """The RFC 9457 members; extension members never replace a standard one.

        A 404 names neither the call nor its trace: what belongs to another tenant and what does not exist must answer the same bytes.
        """
        standard = {
            "type": TYPES + self.code,
            "title": self.type.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "remedy": self.type.remedy,
        }
        if self.status != 404:
            standard["instance"] = f"urn:uuid:{request_id}" if request_id else "about:blank"
            if (trace := telemetry.trace_id()) is not None:
                standard["trace_id"] = trace
        return {**{name: value for name, value in self.members.items() if value is not None}, **standard}

    def response(self, request_id: UUID | None = None) -> JSONResponse:
        named = {"X-Request-Id": str(request_id)} if request_id else {}
        return JSONResponse(self.document(request_id), status_code=self.status, media_type=MEDIA_TYPE, headers=self.headers | named)


def outcome_pending(command_id: UUID, idempotency_key: str | None, why: str) -> Problem:
    """A 503 about a command that the broker has acknowledged and whose outcome cannot be told: where to look, and how to ask again."""
    said = f"the command {command_id} is accepted and will be decided; {why}"
    link = {"Location": f"/commands/{command_id}"}
    return Problem("outcome-pending", said, headers=link, command_id=str(command_id), idempotency_key=idempotency_key)


def unauthenticated(detail: str, *, error: str | None = None) -> Problem:
    """A 401 with its challenge (RFC 6750 §3)."""
    challenge = 'Bearer realm="barecount"' + (f', error="{error}"' if error else "")
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": challenge})


def invalid_request(error: RequestValidationError | WebSocketRequestValidationError) -> Problem:
    """A 422 that lists every error with a JSON pointer into the part of the request that it concerns."""
    errors = [
        {"in": str(one["loc"][0]) if one["loc"] else "body", "pointer": _pointer(one["loc"][1:]), "detail": one["msg"], "kind": one["type"]}
        for one in error.errors()
    ]
    first = errors[0] if errors else {"in": "request", "pointer": "", "detail": "not valid"}
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem("invalid-request", f"{first['in']} {first['pointer'] or '/'}: {first['detail']}{more}", errors=errors)


def from_http(error: HTTPException, method: str, path: str) -> Problem:
    """The framework's own refusals (no route, wrong method, unreadable body) as problems."""
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return Problem("not-found", f"there is nothing at {path}", headers=headers)
        case 405:
            return Problem("method-not-allowed", f"{path} does not take {method}", headers=headers)
        case 401:
            return unauthenticated(str(error.detail))
        case 403:
            return Problem("forbidden", str(error.detail), headers=headers)
        case 413:
            return Problem("payload-too-large", str(error.detail), headers=headers)
        case status if status < 500:
            return Problem("invalid-request", str(error.detail), headers=headers)
        case 503:
            return Problem("service-unavailable", str(error.detail), headers=headers)
        case _:
            return Problem("internal-error", "the service could not answer; its log has the cause under this trace id", headers=headers)


def install(app: FastAPI, unaskable: Sequence[type[Exception]] = (), unreachable: Sequence[type[Exception]] = ()) -> None:
    """Lets the app answer every exception of a route with a problem document. Unexpected ones are calls.py's to catch.

    unaskable: errors that a request's own values cause further in. unreachable: what a read model that is away for a moment raises.
    """

    async def on_problem(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return _answer(request, error)

    async def on_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _answer(request, invalid_request(error))

    async def on_socket_validation(request: Request, error: Exception) -> JSONResponse:
        # the framework gives it as the answer to the handshake
        assert isinstance(error, WebSocketRequestValidationError)
        return _answer(request, invalid_request(error))

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _answer(request, from_http(error, request.method, request.url.path))

    async def on_unaskable(request: Request, error: Exception) -> JSONResponse:
        said = "a number or time of the request is out of range, or a text holds U+0000: nothing here can have that name"
        return _answer(request, Problem("invalid-request", said))

    async def on_unreachable(request: Request, error: Exception) -> JSONResponse:
        telemetry.logger().warning(telemetry.READ_MODEL_AWAY, error=repr(error))
        call = request.scope.get("state", {}).get("call")
        if call is not None and call.accepted:
            why = "the read model, which would tell its outcome, does not answer now"
            return _answer(request, outcome_pending(call.command_id, call.idempotency_key, why))
        return _answer(request, Problem("service-unavailable", "the read model does not answer now; nothing was changed by this call"))

    for kind in unaskable:
        app.add_exception_handler(kind, on_unaskable)
    for kind in unreachable:
        app.add_exception_handler(kind, on_unreachable)
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(WebSocketRequestValidationError, on_socket_validation)
    app.add_exception_handler(HTTPException, on_http)


def _answer(request: Request, problem: Problem) -> JSONResponse:
    call = request.scope.get("state", {}).get("call")
    if call is None:
        return problem.response()
    call.problem_code = problem.code
    return problem.response(call.request_id)


def _pointer(parts: tuple[int | str, ...]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
