"""Pipelines: manifests, versions, environments, history."""

from __future__ import annotations

import re
from typing import Annotated, Any

from asyncpg import Record
from barecount_chassis import AsOf, Caller, ConsistencyToken, IdempotencyKey, IfNoneMatch, PreferWait, Problem, require, versioned
from barecount_contracts import CreatePipeline, DeletePipeline, Environment, PromotePipeline, UpdatePipeline
from barecount_readmodel import Connection, Thing
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from barecount_command.views import PIPELINE
from barecount_command.views.rows import from_json

from .bodies import body_of, document, named
from .desk import Desk
from .models import ETAG, SEEN, History, Pipelines, PipelineShown, Written
from .pages import Cursor, Limit, after, page

MANIFEST = body_of("A pipeline manifest (apiVersion: barecount.io/v1)")


class Promotion(BaseModel):
    """Which environment's version another one shall run."""

    model_config = ConfigDict(extra="forbid")
    source: Environment = Field(alias="from")
    target: Environment = Field(alias="to")
    version: int | None = Field(default=None, ge=1, description="Refuse unless the first environment runs this version")


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["pipelines"])

    @routes.post("/pipelines", response_model=Written, status_code=202, responses={201: {"model": Written}}, openapi_extra=MANIFEST)
    async def create_pipeline(
        request: Request, caller: Annotated[Caller, require("pipelines:write")], wait: PreferWait, key: IdempotencyKey = None
    ) -> JSONResponse:
        """Creates a pipeline from its first manifest (JSON or YAML) and deploys it in dev.

        Every contract that the manifest names must be registered: else `unknown-contract` or `unknown-contract-version`, with what is
        missing and what exists under `extra`. An invalid manifest is answered with all its problems under
        `errors` (`invalid-manifest`). Other refusals: `pipeline-exists`, `pipeline-deleted`.
        """
        body = await document(request, "invalid-manifest", "the manifest")
        name = named(body, "name", "invalid-manifest", "the manifest")
        command = CreatePipeline(name=name, manifest=body)
        return await desk.write(caller, command, key=key, wait=wait, created=True, thing=f"/pipelines/{name}")

    @routes.get("/pipelines", response_model=Pipelines)
    async def list_pipelines(
        caller: Annotated[Caller, require("pipelines:read")],
        token: ConsistencyToken = None,
        deleted: Annotated[bool, Query(description="Show retired ones too")] = False,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """The tenant's pipelines by name, with what each environment runs."""
        (last,) = after(cursor, (str,)) or [""]
        async with desk.read(caller, token) as conn:
            rows = await conn.fetch(
                "SELECT * FROM pipelines WHERE tenant = $1 AND name > $2 AND (deleted <= $3) ORDER BY name LIMIT $4",
                caller.tenant,
                last,
                deleted,
                limit + 1,
            )
        return page(rows, limit, _item, lambda row: (row["name"],))

    @routes.get(
        "/pipelines/{name}",
        response_model=PipelineShown,
        responses={200: {"headers": ETAG}, 304: {"description": "As If-None-Match says", "headers": ETAG}},
    )
    async def get_pipeline(
        name: str,
        caller: Annotated[Caller, require("pipelines:read")],
        token: ConsistencyToken = None,
        environment: Annotated[Environment | None, Query(description="The version that this environment runs")] = None,
        version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="This version; without both the newest")] = None,
        as_of: AsOf = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """A pipeline with one manifest: of an environment, of a version, or the newest. The ETag begins with its version.

        With `as_of`, as it was then. `pipeline-not-found` without such a pipeline (then), `not-found` without such a version.
        """
        async with desk.read_at(caller, token, as_of, Thing(PIPELINE, name)) as seen:
            conn = seen.conn
            row = await _pipeline(conn, caller, name)
            number = version or (from_json(row["environments"]).get(environment) if environment else row["version"])
            if number is None:
                raise Problem("not-found", f"{environment} runs no version of {name}")
            found = await conn.fetchrow(
                "SELECT v.digest, m.body FROM manifest_versions v JOIN manifests m USING (tenant, digest) "
                "WHERE v.tenant = $1 AND v.name = $2 AND v.version = $3",
                caller.tenant,
                name,
                number,
            )
        if found is None:
            raise Problem("not-found", f"pipeline {name} has no version {number}")
        shown = {**_item(row), "shown_version": number, "digest": found["digest"], "manifest": from_json(found["body"])}
        return versioned(shown, seen.headers, if_none_match, f"{number}-")

    @routes.get("/pipelines/{name}/history", response_model=History, responses={200: {"headers": SEEN}})
    async def get_history(
        name: str,
        response: Response,
        caller: Annotated[Caller, require("pipelines:read")],
        token: ConsistencyToken = None,
        as_of: AsOf = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """What happened to a pipeline: versions, promotions, retirement; who, when, by which command; oldest first.

        With `as_of`, until then. `pipeline-not-found` without such a pipeline (then).
        """
        (last,) = after(cursor, (int,)) or [-1]
        async with desk.read_at(caller, token, as_of, Thing(PIPELINE, name)) as seen:
            await _pipeline(seen.conn, caller, name)
            rows = await seen.conn.fetch(
                'SELECT * FROM pipeline_history WHERE tenant = $1 AND name = $2 AND "offset" > $3 ORDER BY "offset" LIMIT $4',
                caller.tenant,
                name,
                last,
                limit + 1,
            )
        response.headers.update(seen.headers)
        return page(rows, limit, _happened, lambda row: (row["offset"],))

    @routes.put("/pipelines/{name}", response_model=Written, status_code=202, responses={200: {"model": Written}}, openapi_extra=MANIFEST)
    async def update_pipeline(
        name: str,
        request: Request,
        caller: Annotated[Caller, require("pipelines:write")],
        wait: PreferWait,
        key: IdempotencyKey = None,
        if_match: Annotated[
            str | None, Header(description="ETag of the newest version, or its number: refuse when it has moved on")
        ] = None,
    ) -> JSONResponse:
        """Gives a pipeline its next manifest version, deployed in dev. The newest manifest again changes nothing.

        Refusals: `invalid-manifest`, `name-mismatch`, `unknown-contract`, `unknown-contract-version`, `pipeline-not-found`,
        `pipeline-deleted`, `version-conflict` (If-Match).
        """
        body = await document(request, "invalid-manifest", "the manifest")
        command = UpdatePipeline(name=name, manifest=body, expected_version=_expected(if_match))
        return await desk.write(caller, command, key=key, wait=wait, thing=f"/pipelines/{name}")

    @routes.delete("/pipelines/{name}", response_model=Written, status_code=202, responses={200: {"model": Written}})
    async def delete_pipeline(
        name: str, caller: Annotated[Caller, require("pipelines:delete")], wait: PreferWait, key: IdempotencyKey = None
    ) -> JSONResponse:
        """Retires a pipeline: nothing of it starts any more. Its history stays, its name is not used again.

        Refusals: `pipeline-not-found`, `pipeline-deleted`.
        """
        return await desk.write(caller, DeletePipeline(name=name), key=key, wait=wait)

    @routes.post("/pipelines/{name}/promote", response_model=Written, status_code=202, responses={200: {"model": Written}})
    async def promote_pipeline(
        name: str, body: Promotion, caller: Annotated[Caller, require("pipelines:promote")], wait: PreferWait, key: IdempotencyKey = None
    ) -> JSONResponse:
        """Lets an environment run what another one runs: dev to staging to prod, or dev to prod directly.

        Refusals: `pipeline-not-found`, `pipeline-deleted`, `nothing-to-promote`, `version-conflict`.
        """
        command = PromotePipeline(name=name, from_environment=body.source, to_environment=body.target, version=body.version)
        return await desk.write(caller, command, key=key, wait=wait, thing=f"/pipelines/{name}")

    return routes


async def _pipeline(conn: Connection, caller: Caller, name: str) -> Record:
    row = await conn.fetchrow("SELECT * FROM pipelines WHERE tenant = $1 AND name = $2", caller.tenant, name)
    if row is None:
        raise Problem("pipeline-not-found", f"there is no pipeline {name}")
    return row


def _item(row: Record) -> dict[str, Any]:
    shown = {key: row[key] for key in ("name", "owner", "description", "pool", "version", "deleted")}
    times = {key: row[key].isoformat() for key in ("created_at", "updated_at")}
    return {**shown, "environments": from_json(row["environments"]), **times}


def _happened(row: Record) -> dict[str, Any]:
    names = ("type", "version", "digest", "environment", "from_environment", "principal", "command_id")
    return {"time": row["at"], **{key: row[key] for key in names}}


def _expected(if_match: str | None) -> int | None:
    """The version that If-Match names: an ETag `"3-sha256:…"`, `"3"` or `3`; `*` asks for any. Raises: Problem."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = re.fullmatch(r'(?:W/)?"?(\d{1,9})(?:-[^"]*)?"?', if_match.strip())
    if found is None:
        raise Problem("version-conflict", f"If-Match {if_match[:80]!r} names no version of a manifest; use the ETag of GET /pipelines/…")
    return int(found[1])
