"""Governance: what waits for a decision, and decisions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from asyncpg import Record
from barecount_chassis import (
    NOT_MODIFIED,
    TOLD,
    AsOf,
    Caller,
    ConsistencyToken,
    IdempotencyKey,
    IfNoneMatch,
    PreferWait,
    Problem,
    require,
    versioned,
)
from barecount_contracts import DecideRequest
from barecount_readmodel import Thing
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from barecount_command.views import APPROVAL
from barecount_command.views.rows import from_json

from .desk import Desk
from .models import RequestItem, Requests, Written
from .pages import Cursor, Limit, after, page

State = Literal["pending", "validated", "refused", "waiting", "approved", "rejected"]


class Decision(BaseModel):
    """A decision about exactly the plan that was shown."""

    model_config = ConfigDict(extra="forbid")
    request_id: str = Field(min_length=1, max_length=64)
    decision: Literal["approve", "reject"]
    reason: str = Field(min_length=1, max_length=2000)
    plan_digest: str = Field(max_length=80, description="`plan_digest` of the request, as GET /governance/approvals shows it")


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["governance"])

    @routes.get("/governance/approvals", response_model=Requests)
    async def list_requests(
        caller: Annotated[Caller, require("decisions:read")],
        token: ConsistencyToken = None,
        state: Annotated[State | None, Query(description="`waiting`: those that a person must decide")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """Replay requests with their plans and what became of them, oldest first."""
        last = after(cursor, (str, str))
        since, request = (_time(last[0]), last[1]) if last else (None, "")
        async with desk.read(caller, token) as conn:
            rows = await conn.fetch(
                "SELECT * FROM requests WHERE tenant = $1 AND ($2::text IS NULL OR state = $2) "
                "AND ($3::timestamptz IS NULL OR (requested_at, request_id) > ($3, $4)) ORDER BY requested_at, request_id LIMIT $5",
                caller.tenant,
                state,
                since,
                request,
                limit + 1,
            )
        return page(rows, limit, _item, lambda row: (row["requested_at"].isoformat(), row["request_id"]))

    @routes.get(
        "/governance/approvals/{request_id}",
        response_model=None,
        responses={200: {"model": RequestItem, "headers": TOLD}, **NOT_MODIFIED},
    )
    async def get_request(
        request_id: str,
        caller: Annotated[Caller, require("decisions:read")],
        token: ConsistencyToken = None,
        as_of: AsOf = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """One replay request: its plan, what it waits for, who decided; with `as_of`, as it was then.

        `request-not-found` when your tenant has no such request (then).
        """
        async with desk.read_at(caller, token, as_of, Thing(APPROVAL, request_id)) as seen:
            row = await seen.conn.fetchrow("SELECT * FROM requests WHERE tenant = $1 AND request_id = $2", caller.tenant, request_id)
        if row is None:
            raise Problem("request-not-found", f"there is no request {request_id}")
        shown = RequestItem.model_validate(_item(row)).model_dump(mode="json")
        return versioned(shown, seen.headers, if_none_match)

    @routes.post("/governance/decisions", response_model=Written, status_code=202, responses={200: {"model": Written}})
    async def decide(
        body: Decision, caller: Annotated[Caller, require("decisions:write")], wait: PreferWait, key: IdempotencyKey = None
    ) -> JSONResponse:
        """Approves or rejects a waiting request of somebody else (four eyes). The decision is spent once and binds to the plan's digest.

        A plan that is not what it was any more (a newer manifest under `latest`, another run of the data partition since) is not run:
        `plan-stale` with `extra.difference` {field: {was, is}}, and the request ends, as it does when the pipeline was retired.
        Refusals: `request-not-found`, `request-not-waiting`, `own-request`, `plan-mismatch`, `plan-stale`, `pipeline-deleted`.
        """
        command = DecideRequest(request_id=body.request_id, decision=body.decision, reason=body.reason, plan_digest=body.plan_digest)
        return await desk.write(caller, command, key=key, wait=wait)

    return routes


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise Problem("invalid-request", "the cursor is not one of this list", errors=[{"in": "query", "pointer": "/cursor"}]) from error


def _item(row: Record) -> dict[str, Any]:
    shown = {key: row[key] for key in row.keys() if key not in ("tenant", "facts")}  # noqa: SIM118
    return {**shown, "plan": from_json(row["plan"]), "extra": from_json(row["extra"]) or None}
