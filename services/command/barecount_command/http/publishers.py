"""Systems that publish signed commands to the topic `pipelines.commands`: register their keys, see them, revoke them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from asyncpg import Record
from barecount_chassis import Caller, ConsistencyToken, IdempotencyKey, PreferWait, require
from barecount_contracts import RegisterPublisher, RevokePublisher, publisher_principal
from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from .desk import Desk
from .models import Page, Written
from .pages import Cursor, Limit, after, page


class NewPublisher(BaseModel):
    """A system and its key."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Unique within the tenant")
    public_key: str = Field(max_length=64, description="The raw Ed25519 public key (32 bytes) as base64url without padding")
    roles: list[Literal["developer", "operator", "governance", "tenant_admin", "auditor"]] = Field(
        min_length=1, max_length=5, description="What its commands may do, as contracts/permissions.yaml tells"
    )
    description: str = Field(default="", max_length=500)


class PublisherItem(BaseModel):
    name: str
    kid: str = Field(description="What a signature names as `kid`")
    principal: str = Field(description="How its commands stand in the log and in the evidence")
    public_key: str
    roles: list[str]
    description: str
    registered_by: str | None = Field(description="They never decide a request of this publisher: four eyes")
    registered_at: datetime
    revoked_at: datetime | None = Field(description="Nothing signed with its key is admitted since")


class Publishers(Page):
    items: list[PublisherItem]


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["publishers"])

    @routes.get("/publishers", response_model=Publishers)
    async def list_publishers(
        caller: Annotated[Caller, require("publishers:read")], token: ConsistencyToken = None, limit: Limit = 100, cursor: Cursor = None
    ) -> dict[str, Any]:
        """Every publisher of the tenant by name, with those that were revoked."""
        last = after(cursor, (str,)) or [""]
        async with desk.read(caller, token) as conn:
            rows = await conn.fetch(
                "SELECT * FROM publishers WHERE tenant = $1 AND name > $2 ORDER BY name LIMIT $3", caller.tenant, last[0], limit + 1
            )
        return page(rows, limit, _item, lambda row: (row["name"],))

    @routes.post("/publishers", response_model=Written, status_code=202, responses={201: {"model": Written}})
    async def register_publisher(
        body: NewPublisher, caller: Annotated[Caller, require("publishers:write")], wait: PreferWait, key: IdempotencyKey = None
    ) -> JSONResponse:
        """Lets a system publish signed commands; the same name with another key rotates it, and the former one is void at once.

        The system appends an Envelope (contracts/schemas/Envelope.v1.json) to `pipelines.commands` with its tenant as record key
        (partition murmur2(key) mod partitions) and signs the value's exact bytes: the record header `jws` is a detached JWS
        `<protected>..<signature>` with the protected header `{"alg": "EdDSA", "kid": "<tenant>/<name>", "jti": ..., "exp": ...}`. `exp`
        (Unix seconds) lies at most a day after the broker's time; `jti` (1 to 255 characters) names the command once. The envelope has
        no assertion, `principal` `publisher:<tenant>/<name>`, and as `id` and `correlation` UUIDv5 of
        6f1c1c1e-6a5b-5a43-9a0d-2f1f8b1d7c10 and tenant, principal and jti joined by U+001F. The outcome stands in `control.events`
        under `cause.command_id`, or, when a record is rejected before anyone can know whose it is, under the record's position.
        Refusals: `invalid-public-key`, `invalid-request`.
        """
        command = RegisterPublisher(name=body.name, public_key=body.public_key, roles=tuple(body.roles), description=body.description)
        return await desk.write(caller, command, key=key, wait=wait, created=True, thing="/publishers")

    @routes.delete("/publishers/{name}", response_model=Written, status_code=202, responses={200: {"model": Written}})
    async def revoke_publisher(
        name: str, caller: Annotated[Caller, require("publishers:write")], wait: PreferWait, key: IdempotencyKey = None
    ) -> JSONResponse:
        """Takes the right to publish away, from the next record on. What was admitted before stays. Refusal: `publisher-not-found`."""
        return await desk.write(caller, RevokePublisher(name=name), key=key, wait=wait)

    return routes


def _item(row: Record) -> dict[str, Any]:
    shown = {key: row[key] for key in row.keys() if key != "tenant"}  # noqa: SIM118
    kid = f"{row['tenant']}/{row['name']}"
    return {**shown, "kid": kid, "principal": publisher_principal(row["tenant"], row["name"])}
