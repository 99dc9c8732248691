"""Webhook endpoints: create, change, rotate, ask for an event again. Deliveries, health and secrets are the webhooks service's."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from asyncpg import Record
from barecount_chassis import Caller, ConsistencyToken, IdempotencyKey, PreferWait, Problem, require
from barecount_contracts import (
    DEFAULT_EVENT_TYPES,
    CreateWebhook,
    DeleteWebhook,
    RedeliverWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
)
from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from .desk import Desk
from .models import Page, Written
from .pages import Cursor, Limit, after, page

Types = Annotated[tuple[str, ...], Field(min_length=1, max_length=50)]
Names = Annotated[tuple[str, ...], Field(max_length=100)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WebhookOrder(_Closed):
    """Where to deliver, and what."""

    url: str = Field(min_length=1, max_length=2048, description="https; http and private addresses where the operator allows them")
    event_types: Types = Field(default=DEFAULT_EVENT_TYPES, description="As run.failed, a kind as run.*, or *")
    pipelines: Names = Field(default=(), description="Only events of these; none named: of all")
    description: str = Field(default="", max_length=500)


class WebhookChange(_Closed):
    """What is not named stays."""

    url: str | None = Field(default=None, min_length=1, max_length=2048)
    event_types: Types | None = None
    pipelines: Names | None = None
    description: str | None = Field(default=None, max_length=500)
    enabled: bool | None = Field(default=None, description="true also takes up again what the relay has disabled")


class RotateOrder(_Closed):
    keep_hours: int = Field(default=24, ge=0, le=168, description="How long the old secret signs beside the new one")


class RedeliverOrder(_Closed):
    event_id: str = Field(min_length=1, max_length=64, description="`webhook-id` of the delivery")


class WebhookItem(BaseModel):
    endpoint_id: str
    url: str
    event_types: list[str]
    pipelines: list[str]
    description: str
    enabled: bool = Field(description="As the tenant wants it; /health tells whether the relay has disabled it")
    key_version: int
    previous_until: datetime | None = Field(description="While rotating: until then the secret before signs too")
    principal: str | None
    created_at: datetime
    updated_at: datetime


class Webhooks(Page):
    items: list[WebhookItem]


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["webhooks"])

    @routes.post("/webhooks", response_model=Written, status_code=202, responses={201: {"model": Written}})
    async def create_webhook(
        body: WebhookOrder, caller: Annotated[Caller, require("webhooks:write")], wait: PreferWait, key: IdempotencyKey = None
    ) -> JSONResponse:
        """Delivers the tenant's events from now on to an address (Standard Webhooks). The event names the endpoint's id.

        Refusals: `invalid-webhook-url`, `unknown-event-type`, `too-many-webhooks`.
        """
        command = CreateWebhook(**body.model_dump())
        return await desk.write(
            caller, command, key=key, wait=wait, created=True, thing=lambda submitted: f"/webhooks/wh_{submitted.command_id.hex}"
        )

    @routes.get("/webhooks", response_model=Webhooks)
    async def list_webhooks(
        caller: Annotated[Caller, require("webhooks:read")], token: ConsistencyToken = None, limit: Limit = 100, cursor: Cursor = None
    ) -> dict[str, Any]:
        """The tenant's endpoints."""
        last = after(cursor, (str,)) or [""]
        async with desk.read(caller, token) as conn:
            rows = await conn.fetch(
                "SELECT * FROM webhooks WHERE tenant = $1 AND endpoint_id > $2 ORDER BY endpoint_id LIMIT $3",
                caller.tenant,
                *last,
                limit + 1,
            )
        return page(rows, limit, _item, lambda row: (row["endpoint_id"],))

    @routes.get("/webhooks/{endpoint_id}", response_model=WebhookItem)
    async def get_webhook(
        endpoint_id: str, caller: Annotated[Caller, require("webhooks:read")], token: ConsistencyToken = None
    ) -> dict[str, Any]:
        """One endpoint. `webhook-not-found` when your tenant has no such endpoint."""
        async with desk.read(caller, token) as conn:
            row = await conn.fetchrow("SELECT * FROM webhooks WHERE tenant = $1 AND endpoint_id = $2", caller.tenant, endpoint_id)
        if row is None:
            raise Problem("webhook-not-found", f"there is no webhook endpoint {endpoint_id}")
        return _item(row)

    @routes.put("/webhooks/{endpoint_id}", response_model=Written, status_code=202, responses={200: {"model": Written}})
    async def update_webhook(
        endpoint_id: str,
        body: WebhookChange,
        caller: Annotated[Caller, require("webhooks:write")],
        wait: PreferWait,
        key: IdempotencyKey = None,
    ) -> JSONResponse:
        """Changes an endpoint. Disabled ones get nothing; enabled again they get what came meanwhile.

        Refusals: `webhook-not-found`, `invalid-webhook-url`, `unknown-event-type`.
        """
        command = UpdateWebhook(endpoint_id=endpoint_id, **body.model_dump())
        return await desk.write(caller, command, key=key, wait=wait, thing=f"/webhooks/{endpoint_id}")

    @routes.delete("/webhooks/{endpoint_id}", response_model=Written, status_code=202, responses={200: {"model": Written}})
    async def delete_webhook(
        endpoint_id: str, caller: Annotated[Caller, require("webhooks:write")], wait: PreferWait, key: IdempotencyKey = None
    ) -> JSONResponse:
        """Delivers nothing more to an endpoint; what was not delivered will not be. `webhook-not-found`."""
        return await desk.write(caller, DeleteWebhook(endpoint_id=endpoint_id), key=key, wait=wait)

    @routes.post("/webhooks/{endpoint_id}/rotate", response_model=Written, status_code=202, responses={200: {"model": Written}})
    async def rotate_webhook_secret(
        endpoint_id: str,
        caller: Annotated[Caller, require("webhooks:write")],
        wait: PreferWait,
        key: IdempotencyKey = None,
        body: Annotated[RotateOrder | None, Body()] = None,
    ) -> JSONResponse:
        """Signs with a new secret; for `keep_hours` deliveries carry the old signature too. `webhook-not-found`."""
        command = RotateWebhookSecret(endpoint_id=endpoint_id, keep_hours=(body or RotateOrder()).keep_hours)
        return await desk.write(caller, command, key=key, wait=wait, thing=f"/webhooks/{endpoint_id}")

    @routes.post("/webhooks/{endpoint_id}/redeliver", response_model=Written, status_code=202, responses={200: {"model": Written}})
    async def redeliver_webhook(
        endpoint_id: str,
        body: RedeliverOrder,
        caller: Annotated[Caller, require("webhooks:write")],
        wait: PreferWait,
        key: IdempotencyKey = None,
    ) -> JSONResponse:
        """Sends one event to the endpoint again, under the same `webhook-id`, whether it wanted its type or not. `webhook-not-found`."""
        command = RedeliverWebhook(endpoint_id=endpoint_id, event_id=body.event_id)
        return await desk.write(caller, command, key=key, wait=wait, thing=f"/webhooks/{endpoint_id}")

    return routes


def _item(row: Record) -> dict[str, Any]:
    return {name: row[name] for name in WebhookItem.model_fields}
