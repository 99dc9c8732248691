"""Routes: an endpoint's deliveries, its health, its secret. Endpoints themselves are made and listed by the command service."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from barecount_chassis import Caller, ConsistencyToken, Problem, caller_of, require
from barecount_readmodel import Connection, Database, Projector, reach
from fastapi import APIRouter, Depends, Query, Request

from .answers import Deliveries, DeliveryShown, DeliveryState, EndpointHealth, Secret
from .domain import signing
from .relay import Relay
from .views import deliveries
from .views.endpoints import endpoint

READ: Final = ("control.events", "state.changes", "webhooks.attempts", "pipelines.commands")

router = APIRouter(tags=["webhooks"])
Reader = Annotated[Caller, require("webhooks:read")]
Writer = Annotated[Caller, require("webhooks:write")]


@dataclass(frozen=True)
class Parts:
    """What the routes work with; app.py puts it into `app.state.parts`."""

    database: Database
    projector: Projector
    relay: Relay
    secret: bytes
    master: bytes


async def _fresh(request: Request, token: ConsistencyToken = None) -> Parts:
    """Waits until the read model has what the caller's token names, as far as it reads those logs."""
    parts: Parts = request.app.state.parts
    await reach(parts.projector, token, parts.secret, caller_of(request).tenant, topics=READ)
    return parts


Fresh = Annotated[Parts, Depends(_fresh)]


@router.get("/webhooks/{endpoint_id}/deliveries", response_model=Deliveries)
async def list_deliveries(
    endpoint_id: str,
    caller: Reader,
    parts: Fresh,
    state: DeliveryState | None = None,
    event_type: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Items on a page")] = 50,
    cursor: Annotated[str | None, Query(max_length=2048, description="`next_cursor` of the page before")] = None,
) -> dict[str, Any]:
    """What went, or goes, to an endpoint, the newest first. A deleted endpoint keeps its history. `webhook-not-found`."""
    async with parts.database.query(caller.tenant) as conn:
        await _endpoint(conn, endpoint_id)
        rows = await deliveries.listed(conn, endpoint_id, state=state, event_type=event_type, before=_before(cursor), limit=limit + 1)
    shown = rows[:limit]
    following = _cursor(shown[-1]) if len(rows) > limit else None
    return {"items": [_delivery(row) for row in shown], "next_cursor": following}


@router.get("/webhooks/{endpoint_id}/deliveries/{event_id}", response_model=DeliveryShown)
async def get_delivery(endpoint_id: str, event_id: str, caller: Reader, parts: Fresh) -> dict[str, Any]:
    """How one event went to an endpoint, with every attempt. `webhook-not-found`, `not-found`."""
    return await _shown(caller, parts, endpoint_id, f"{endpoint_id}/{event_id}")


@router.get("/webhooks/{endpoint_id}/deliveries/{event_id}/{command_id}", response_model=DeliveryShown)
async def get_redelivery(endpoint_id: str, event_id: str, command_id: str, caller: Reader, parts: Fresh) -> dict[str, Any]:
    """The same for what the command has asked to be sent again. `webhook-not-found`, `not-found`."""
    return await _shown(caller, parts, endpoint_id, f"{endpoint_id}/{event_id}/{command_id}")


@router.get("/webhooks/{endpoint_id}/health", response_model=EndpointHealth)
async def get_health(endpoint_id: str, caller: Reader, parts: Fresh) -> dict[str, Any]:
    """Whether an endpoint takes what it is sent, and since when something waits. `webhook-not-found`."""
    async with parts.database.query(caller.tenant) as conn:
        row = await _endpoint(conn, endpoint_id)
        counted = await deliveries.counts(conn, endpoint_id)
    breaker, concurrency, in_flight = parts.relay.lane(endpoint_id)
    state: str = "live" if breaker == "closed" else breaker
    reason: str | None = None
    if row["deleted"]:
        state = "deleted"
    elif not row["live"]:
        state, reason = "disabled", row["disabled_reason"] if row["enabled"] else "by-tenant"
    by_relay = reason in ("gone", "failing")
    return {
        "endpoint_id": endpoint_id,
        "state": state,
        "disabled_reason": reason,
        "disabled_detail": row["disabled_detail"] if by_relay else None,
        "disabled_at": row["disabled_at"] if by_relay else None,
        **{name: counted[name] for name in ("pending", "failed", "succeeded")},
        "oldest_undelivered_at": counted["oldest"],
        **{name: row[name] for name in ("last_success_at", "last_failure_at", "failing_since")},
        "in_flight": in_flight,
        "concurrency": concurrency,
    }


@router.get("/webhooks/{endpoint_id}/secret", response_model=Secret)
async def get_secret(endpoint_id: str, caller: Writer, parts: Fresh) -> dict[str, Any]:
    """The secret that deliveries are signed with; the call is recorded, the secret is not. `webhook-not-found`."""
    async with parts.database.query(caller.tenant) as conn:
        row = await _endpoint(conn, endpoint_id)
    if row["deleted"]:
        raise _unknown(endpoint_id)

    def secret(version: int) -> str:
        return signing.shown(signing.secret_of(parts.master, row["tenant"], endpoint_id, version))

    rotating = row["previous_until"] is not None and row["previous_until"] > datetime.now(UTC)
    return {
        "endpoint_id": endpoint_id,
        "secret": secret(row["key_version"]),
        "key_version": row["key_version"],
        "previous": secret(row["key_version"] - 1) if rotating else None,
        "previous_until": row["previous_until"] if rotating else None,
    }


async def _shown(caller: Caller, parts: Parts, endpoint_id: str, delivery_id: str) -> dict[str, Any]:
    async with parts.database.query(caller.tenant) as conn:
        await _endpoint(conn, endpoint_id)
        row = await deliveries.delivery(conn, endpoint_id, delivery_id)
        if row is None:
            raise Problem("not-found", f"there is no delivery {delivery_id}")
        return {**_delivery(row), "attempt_list": await deliveries.attempts_of(conn, delivery_id)}


async def _endpoint(conn: Connection, endpoint_id: str) -> dict[str, Any]:
    row = await endpoint(conn, endpoint_id)
    if row is None:
        raise _unknown(endpoint_id)
    return row


def _unknown(endpoint_id: str) -> Problem:
    return Problem("webhook-not-found", f"there is no webhook endpoint {endpoint_id}")


def _delivery(row: dict[str, Any]) -> dict[str, Any]:
    names = ("delivery_id", "event_id", "event_type", "state", "attempts", "created_at", "ended_at", "status", "error_type", "detail")
    where = row["delivery_id"].removeprefix(f"{row['endpoint_id']}/")
    return {
        **{name: row[name] for name in names},
        "due_at": row["due_at"] if row["state"] == "pending" else None,
        "links": {"self": f"/webhooks/{row['endpoint_id']}/deliveries/{where}"},
    }


def _cursor(row: dict[str, Any]) -> str:
    keys = [row["created_at"].isoformat(), row["delivery_id"]]
    return base64.urlsafe_b64encode(json.dumps(keys).encode()).decode().rstrip("=")


def _before(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    try:
        at, delivery_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return datetime.fromisoformat(at), str(delivery_id)
    except (ValueError, TypeError, binascii.Error) as error:
        raise Problem("invalid-request", "the cursor is not one of this list", errors=[{"in": "query", "pointer": "/cursor"}]) from error
