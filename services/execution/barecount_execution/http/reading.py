"""What every read shares: the caller's rows, as new as their consistency token asks, page by page."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

from barecount_chassis import Caller, ConsistencyToken, Problem, caller_of
from barecount_readmodel import Connection, Database, Past, Projector, Seen, Thing, reach
from fastapi import Depends, Query, Request

from barecount_execution.views import RUN

Limit = Annotated[int, Query(ge=1, le=500, description="Items of a page")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next_cursor` of the page before")]


class Row(Protocol):
    """A row by its columns' names."""

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """The read model as the routes use it."""

    database: Database
    projector: Projector
    secret: bytes
    past: Past

    @asynccontextmanager
    async def rows(self, caller: Caller) -> AsyncIterator[Connection]:
        """One read-only transaction of the caller's tenant."""
        async with self.database.query(caller.tenant) as conn:
            yield conn

    @asynccontextmanager
    async def run(self, caller: Caller, run_id: str, as_of: str | None) -> AsyncIterator[Seen]:
        """The same for one run, at a moment of the log where `as_of` names one. Raises: Problem `as-of-*`, `not-yet-projected`."""
        async with self.past.read(caller.tenant, as_of, Thing(RUN, run_id)) as seen:
            yield seen

    async def include(self, token: str | None, tenant: str) -> None:
        """Waits until the rows hold the write that the tenant's token names.

        Raises: Problem `not-yet-projected`, `token-malformed`, `token-foreign` or `token-future`.
        """
        await reach(self.projector, token, self.secret, tenant)


async def reading_of(request: Request, token: ConsistencyToken = None) -> Reading:
    reading: Reading = request.app.state.reading
    await reading.include(token, caller_of(request).tenant)
    return reading


Reads = Annotated[Reading, Depends(reading_of)]


def no_such_run() -> Problem:
    """The same words for what is another tenant's and for what is nobody's."""
    return Problem("run-not-found", "there is no run of this id")


def page(items: list[dict[str, Any]], limit: int, *position: str) -> dict[str, Any]:
    """A page of a list whose query asked for one more than the limit; position: the fields that the next page begins after."""
    more = len(items) > limit
    last = items[limit - 1] if more else None
    return {"items": items[:limit], "next_cursor": encode([last[name] for name in position]) if last is not None else None}


def encode(position: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).rstrip(b"=").decode()


def decode(cursor: str, *types: type) -> list[Any]:
    """Raises: Problem `invalid-request` for anything that `encode` did not give."""
    try:
        found = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if isinstance(found, list) and [type(part) for part in found] == [str if one is datetime else one for one in types]:
            return [_time(part) if one is datetime else part for part, one in zip(found, types, strict=True)]
    except (ValueError, TypeError):
        pass
    detail = "cursor must be the `next_cursor` of an earlier page, unchanged"
    raise Problem("invalid-request", detail, errors=[{"in": "query", "pointer": "/cursor", "detail": detail}])


def stamp(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without zone")
    return time
