"""Answers that name their own bytes: a strong ETag, and 304 for whoever has them already (RFC 9110 §13)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import Header, Query
from fastapi.responses import JSONResponse, Response

IfNoneMatch = Annotated[str | None, Header(description="ETags that you hold: 304 when one of them is the answer's")]
AsOf = Annotated[
    str | None,
    Query(
        max_length=2048,
        description="As it was then: a time with zone (everything asked for until then), or `topic/partition@offset` (the state after "
        "that record), several with commas, as X-As-Of of an answer has them",
    ),
]
# for /openapi.json, as `responses={200: {"headers": TOLD}}`
TOLD: Final[dict[str, Any]] = {
    "ETag": {"description": "Names these bytes, for If-None-Match", "schema": {"type": "string"}},
    "X-As-Of": {"description": "Where the answer stands in the log: the same answer for ever, as `as_of`", "schema": {"type": "string"}},
}
NOT_MODIFIED: Final[dict[int | str, dict[str, Any]]] = {304: {"description": "As If-None-Match says", "headers": TOLD}}


def versioned(content: Any, headers: Mapping[str, str], if_none_match: str | None, prefix: str = "") -> Response:
    """JSON under the SHA-256 of its bytes as ETag, behind a prefix that says something; or 304 without a body to who holds it."""
    answer = JSONResponse(content, headers=dict(headers))
    answer.headers["ETag"] = f'"{prefix}{hashlib.sha256(bytes(answer.body)).hexdigest()[:32]}"'
    held = [one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")]
    if answer.headers["ETag"] not in held:
        return answer
    kept = {name: value for name, value in answer.headers.items() if name not in ("content-length", "content-type")}
    return Response(status_code=304, headers=kept)
