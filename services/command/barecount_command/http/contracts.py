"""Data contracts: register a version, read what is registered."""

from __future__ import annotations

from typing import Annotated, Any

from asyncpg import Record
from barecount_chassis import Caller, ConsistencyToken, IdempotencyKey, PreferWait, Problem, require
from barecount_contracts import RegisterContract
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from barecount_command.views.rows import from_json

from .bodies import body_of, document, named
from .desk import Desk
from .models import ETAG, Contracts, ContractShown, Written
from .pages import Cursor, Limit, after, page


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["contracts"])

    @routes.post(
        "/contracts",
        response_model=Written,
        status_code=202,
        responses={201: {"model": Written}},
        openapi_extra=body_of("An ODCS document"),
    )
    async def register_contract(
        request: Request, caller: Annotated[Caller, require("contracts:write")], wait: PreferWait, key: IdempotencyKey = None
    ) -> JSONResponse:
        """Registers a version of a data contract (Open Data Contract Standard 3.1), JSON or YAML.

        `name` and `version` are the document's own. A published version never changes: other content under the same version is
        refused (`contract-exists`), the same content again changes nothing. Each object's JSON Schema is registered under the
        subject `<tenant>.<contract>-<object>`; what would break readers is refused (`incompatible-schema`).
        Other refusals: `invalid-contract`, `invalid-schema`.
        """
        body = await document(request, "invalid-contract", "the contract")
        name = named(body, "name", "invalid-contract", "the contract")
        version = named(body, "version", "invalid-contract", "the contract")
        command = RegisterContract(name=name, version=version, document=body)
        return await desk.write(caller, command, key=key, wait=wait, created=True, thing=f"/contracts/{name}/{version}")

    @routes.get("/contracts", response_model=Contracts)
    async def list_contracts(
        caller: Annotated[Caller, require("contracts:read")], token: ConsistencyToken = None, limit: Limit = 100, cursor: Cursor = None
    ) -> dict[str, Any]:
        """Every contract version of the tenant, by name and version."""
        return await _contracts(desk, caller, token, None, limit, cursor)

    @routes.get("/contracts/{name}", response_model=Contracts)
    async def list_contract_versions(
        name: str,
        caller: Annotated[Caller, require("contracts:read")],
        token: ConsistencyToken = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """The versions of one contract. `not-found` when your tenant has no such contract."""
        found = await _contracts(desk, caller, token, name, limit, cursor)
        if not found["items"] and cursor is None:
            raise Problem("not-found", f"there is no contract {name}")
        return found

    @routes.get("/contracts/{name}/{version}", response_model=ContractShown, responses={200: {"headers": ETAG}})
    async def get_contract(
        name: str, version: str, caller: Annotated[Caller, require("contracts:read")], token: ConsistencyToken = None
    ) -> JSONResponse:
        """One contract version with its document. `not-found` when your tenant has no such version."""
        async with desk.read(caller, token) as conn:
            row = await conn.fetchrow(
                "SELECT * FROM contracts WHERE tenant = $1 AND name = $2 AND version = $3", caller.tenant, name, version
            )
        if row is None:
            raise Problem("not-found", f"there is no contract {name} {version}")
        shown = {**_item(row), "document": from_json(row["document"])}
        return JSONResponse(shown, headers={"ETag": f'"{row["digest"]}"'})

    return routes


async def _contracts(desk: Desk, caller: Caller, token: str | None, name: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
    last = after(cursor, (str, str)) or ["", ""]
    async with desk.read(caller, token) as conn:
        rows = await conn.fetch(
            "SELECT * FROM contracts WHERE tenant = $1 AND ($2::text IS NULL OR name = $2) AND (name, version) > ($3, $4) "
            "ORDER BY name, version LIMIT $5",
            caller.tenant,
            name,
            *last,
            limit + 1,
        )
    return page(rows, limit, _item, lambda row: (row["name"], row["version"]))


def _item(row: Record) -> dict[str, Any]:
    shown = {key: row[key] for key in ("name", "version", "digest", "principal")}
    return {**shown, "subjects": from_json(row["subjects"]), "registered_at": row["registered_at"].isoformat()}
