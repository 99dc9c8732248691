"""The routes: live changes as server-sent events and over a WebSocket."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from barecount_chassis import Caller, Problem, require, require_socket, streams
from fastapi import APIRouter, Depends, Header, Query, Request, WebSocket

from .desk import Desk, selection_of
from .session import Session
from .sockets import serve_socket
from .sse import MEDIA_TYPE, EventStream, EventWire

router = APIRouter(tags=["stream"])

Types = Annotated[list[str], Query(alias="type", description="Event types: exact, by kind as `run.*`, or `*`; several by commas")]
Kinds = Annotated[list[str], Query(alias="kind", description="Kinds of things: run, pipeline, replay, ...; several by commas")]
Pipelines = Annotated[list[str], Query(alias="pipeline", description="Only changes of these pipelines; several by commas")]
Runs = Annotated[list[str], Query(alias="run_id", description="Only changes of these runs; several by commas")]
LastQuery = Annotated[
    str | None, Query(alias="last_event_id", description="For clients that cannot set the header; the header wins", max_length=200)
]
LastHeader = Annotated[str | None, Header(alias="Last-Event-ID", description="The last id that you got; a browser sends it by itself")]
Since = Annotated[datetime | None, Query(description="Without an id: begin with what the broker wrote at this time or later (ISO 8601)")]

FRAMES = """id: v1.pmr6SPPUWrhI
event: run.succeeded
data: {"specversion":"1.0","type":"run.succeeded","subject":"rev_kpi_20251004_01","data":{"summary":"..."}}

"""
ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events without an end. `id` is the position to come back with; `data` is a CloudEvent",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": FRAMES}},
    }
}


def desk_of(request: Request) -> Desk:
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


@router.get("/stream", status_code=200, summary="Follow state changes as they happen", responses=ANSWER, response_class=EventStream)
async def follow_changes(
    request: Request,
    caller: Annotated[Caller, require("stream:read")],
    _: Annotated[None, Depends(streams)],
    types: Types = [],  # noqa: B006
    kinds: Kinds = [],  # noqa: B006
    pipelines: Pipelines = [],  # noqa: B006
    run_ids: Runs = [],  # noqa: B006
    last_header: LastHeader = None,
    last_query: LastQuery = None,
    since: Since = None,
) -> EventStream:
    """Every change of your tenant that your roles may read, as a CloudEvent (`barecount_contracts.CHANGES` lists the types).

    First comes `event: open` with the position of this moment: open the stream, then load lists, then apply what comes, and nothing is
    missed. Each event's `id` is the position behind it; frames of an id alone come on quiet streams and move it on. After a cut come back
    with `Last-Event-ID`: every change comes once, none is left out. Positions are opaque and good for your tenant only.

    `event: gap` says that the log no longer has what came between `from` and `to`: load again what you show. `event: end` says why the
    server ends the stream.

    Refusals: `cursor-invalid`, `unknown-event-type`, `too-many-streams`.
    """
    desk = desk_of(request)
    selection = selection_of(types, kinds, pipelines, run_ids)
    follower = await desk.follower(caller, selection, last_header or last_query, zoned(since))
    desk.admit(caller)
    wire = EventWire()
    session = Session(wire, desk.pace, expires=caller.expires, stopping=desk.stopping)
    return EventStream(session, wire, follower, lambda: desk.left(caller))


@router.websocket("/ws")
async def follow_by_socket(
    websocket: WebSocket,
    caller: Annotated[Caller, require_socket("stream:read")],
    types: Types = [],  # noqa: B006
    kinds: Kinds = [],  # noqa: B006
    pipelines: Pipelines = [],  # noqa: B006
    run_ids: Runs = [],  # noqa: B006
    last_query: LastQuery = None,
    since: Since = None,
) -> None:
    """The same over a WebSocket; see sockets.py for what is said there."""
    desk = websocket.app.state.desk
    assert isinstance(desk, Desk)
    selection = selection_of(types, kinds, pipelines, run_ids)
    follower = await desk.follower(caller, selection, last_query, zoned(since))
    desk.admit(caller)
    try:
        await serve_socket(websocket, desk, caller, follower)
    finally:
        await follower.close()
        desk.left(caller)


def zoned(time: datetime | None) -> datetime | None:
    """Raises: Problem `invalid-request` for a time without a zone: whose it would be is a guess."""
    if time is not None and time.tzinfo is None:
        raise Problem("invalid-request", f"{time.isoformat()} has no time zone; write it as {time.replace(tzinfo=UTC).isoformat()}")
    return time
