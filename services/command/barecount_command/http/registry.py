"""The schema registry, in the words of Confluent's REST API, so that its clients work against it unchanged.

JSON Schema only, compatibility BACKWARD (checked against a subject's newest version), one id for one content within a tenant. Errors are
`{"error_code", "message"}`; the codes are the Confluent registry's own. Other problems of a call (no permission, no evidence) have
the HTTP status in their code, as 40301.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from asyncpg import Record
from barecount_chassis import Caller, IdempotencyKey, Problem, current_call, outcome_pending, require
from barecount_contracts import RegisterSchema
from barecount_manifest import digest
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from barecount_command.domain.compatibility import backward
from barecount_command.domain.contracts import parse_schema

from .desk import Desk, problem_of

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
WAIT_SECONDS = 10.0
CODES = {"invalid-schema": 42201, "incompatible-schema": 409, "payload-too-large": 42209, "outcome-pending": 50002}

SCHEMA_ASKED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {
                "schema": {
                    "type": "object",
                    "required": ["schema", "schemaType"],
                    "properties": {
                        "schema": {"type": "string", "description": "A JSON Schema (draft 2020-12) as text"},
                        "schemaType": {"type": "string", "const": "JSON"},
                        "references": {"type": "array", "items": {"type": "object"}, "maxItems": 0},
                    },
                }
            }
            for kind in (MEDIA_TYPE, "application/json")
        },
    }
}

Reader = Annotated[Caller, require("contracts:read")]
Writer = Annotated[Caller, require("contracts:write")]


class RegistryError(Exception):
    """An error in the registry's own words."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class ConfluentAnswer(JSONResponse):
    media_type = MEDIA_TYPE


class ConfluentRoute(APIRoute):
    """Turns whatever a route raises into the registry's form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RegistryError as error:
                return _error(error.status, error.code, error.message)
            except Problem as problem:
                call = current_call()
                if call is not None:
                    call.problem_code = problem.code
                code = CODES.get(problem.code, problem.status * 100 + 1)
                return _error(problem.status, code, f"{problem.type.title}: {problem.detail}. {problem.type.remedy}", problem.headers)
            except RequestValidationError as error:
                return _error(422, 422, "; ".join(str(one["msg"]) for one in error.errors()[:3]))

        return answer


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["schema registry"], route_class=ConfluentRoute, default_response_class=ConfluentAnswer)

    @routes.get("/subjects")
    async def list_subjects(caller: Reader, prefix: Annotated[str, Query(alias="subjectPrefix", max_length=255)] = "") -> list[str]:
        """The tenant's subjects. Contracts' objects stand under `<tenant>.<contract>-<object>`."""
        async with desk.read(caller) as conn:
            rows = await conn.fetch(
                "SELECT DISTINCT subject FROM schemas WHERE tenant = $1 AND starts_with(subject, $2) ORDER BY subject",
                caller.tenant,
                prefix,
            )
        return [row["subject"] for row in rows]

    @routes.get("/subjects/{subject}/versions")
    async def list_versions(subject: str, caller: Reader) -> list[int]:
        """The versions of a subject."""
        return [row["version"] for row in await _subject(desk, caller, subject)]

    @routes.get("/subjects/{subject}/versions/{version}")
    async def get_version(subject: str, version: str, caller: Reader) -> dict[str, Any]:
        """A version of a subject, by number or `latest`."""
        return _schema(_chosen(await _subject(desk, caller, subject), version))

    @routes.post("/subjects/{subject}/versions", openapi_extra=SCHEMA_ASKED)
    async def register(subject: str, request: Request, caller: Writer, key: IdempotencyKey = None) -> dict[str, Any]:
        """Registers a JSON Schema: its id. A schema that the subject has already gives its id again.

        Refusals: 42201 (`invalid-schema`), 409 (`incompatible-schema`); 50002 (`outcome-pending`) when it takes longer than 10 s.
        """
        text, schema = await _asked(request)
        submitted = await desk.submit(caller, RegisterSchema(subject=subject, schema_text=text), key)
        outcome = await desk.outcome(caller, submitted, WAIT_SECONDS)
        if outcome is None:
            why = f"its outcome is not known within {WAIT_SECONDS:g} s, or cannot be read now"
            raise outcome_pending(submitted.command_id, submitted.idempotency_key, why)
        if outcome.type == "SchemaRegistered":
            return {"id": outcome.data["schema_id"], "version": outcome.data["schema_version"]}
        if outcome.type == "CommandDuplicated":
            row = next(row for row in await _subject(desk, caller, subject) if row["digest"] == digest(schema))
            return {"id": row["id"], "version": row["version"]}
        raise problem_of(outcome, submitted.command_id)

    @routes.post("/subjects/{subject}", openapi_extra=SCHEMA_ASKED)
    async def look_up(subject: str, request: Request, caller: Reader) -> dict[str, Any]:
        """Under which version and id a subject has this schema."""
        _, schema = await _asked(request)
        wanted = digest(schema)
        found = next((row for row in await _subject(desk, caller, subject) if row["digest"] == wanted), None)
        if found is None:
            raise RegistryError(404, 40403, "Schema not found")
        return _schema(found)

    @routes.get("/schemas/types")
    async def list_types(caller: Reader) -> list[str]:
        """The schema types that can be registered."""
        return ["JSON"]

    @routes.get("/schemas/ids/{schema_id}")
    async def get_by_id(schema_id: int, caller: Reader) -> dict[str, Any]:
        """The schema with this id."""
        row = (await _by_id(desk, caller, schema_id))[0]
        return {"schema": row["text"], "schemaType": "JSON"}

    @routes.get("/schemas/ids/{schema_id}/versions")
    async def get_places(schema_id: int, caller: Reader) -> list[dict[str, Any]]:
        """Every subject and version with this id."""
        return [{"subject": row["subject"], "version": row["version"]} for row in await _by_id(desk, caller, schema_id)]

    @routes.post("/compatibility/subjects/{subject}/versions/{version}", openapi_extra=SCHEMA_ASKED)
    async def check(subject: str, version: str, request: Request, caller: Reader, verbose: bool = False) -> dict[str, Any]:
        """Whether whoever reads with this schema can read what was written under a version (BACKWARD). Registers nothing."""
        _, schema = await _asked(request)
        async with desk.read(caller) as conn:
            rows = await conn.fetch("SELECT * FROM schemas WHERE tenant = $1 AND subject = $2 ORDER BY version", caller.tenant, subject)
        if not rows and version == "latest":
            # as the Confluent registry: nothing was written yet, so everything can be read
            return {"is_compatible": True}
        if not rows:
            raise RegistryError(404, 40401, f"Subject '{subject}' not found.")
        broken = backward(json.loads(_chosen(rows, version)["text"]), schema)
        return {"is_compatible": not broken, **({"messages": list(broken)} if verbose else {})}

    @routes.get("/config")
    async def get_config(caller: Reader) -> dict[str, str]:
        """The compatibility level of every subject."""
        return {"compatibilityLevel": "BACKWARD"}

    return routes


async def _asked(request: Request) -> tuple[str, dict[str, Any]]:
    """The schema in a request's body: as text and parsed."""
    try:
        body = json.loads(await request.body())
        text = body["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RegistryError(422, 42201, 'the body is not {"schemaType": "JSON", "schema": "<the schema as text>"}') from error
    if body.get("schemaType", "AVRO") != "JSON":
        raise RegistryError(422, 42201, f"schemaType {body.get('schemaType', 'AVRO')!r} is not kept here; only JSON is")
    if body.get("references"):
        raise RegistryError(422, 42201, "references to other subjects are not kept here; put what is shared under $defs")
    schema = parse_schema(text) if isinstance(text, str) else "is not a text"
    if isinstance(schema, str):
        raise RegistryError(422, 42201, f"the schema {schema}")
    return text, schema


async def _subject(desk: Desk, caller: Caller, subject: str) -> list[Record]:
    async with desk.read(caller) as conn:
        rows = await conn.fetch("SELECT * FROM schemas WHERE tenant = $1 AND subject = $2 ORDER BY version", caller.tenant, subject)
    if not rows:
        raise RegistryError(404, 40401, f"Subject '{subject}' not found.")
    return rows


async def _by_id(desk: Desk, caller: Caller, schema_id: int) -> list[Record]:
    if not 0 < schema_id < 2**31:
        raise RegistryError(404, 40403, "Schema not found")
    async with desk.read(caller) as conn:
        rows = await conn.fetch(
            "SELECT subject, version, text FROM schemas WHERE tenant = $1 AND id = $2 ORDER BY subject, version", caller.tenant, schema_id
        )
    if not rows:
        raise RegistryError(404, 40403, "Schema not found")
    return rows


def _chosen(rows: list[Record], version: str) -> Record:
    if version in ("latest", "-1"):
        return rows[-1]
    if not (version.isascii() and version.isdigit() and 0 < int(version[:12]) < 2**31):
        raise RegistryError(422, 42202, f"The specified version '{version[:40]}' is not a valid version id.")
    found = next((row for row in rows if row["version"] == int(version)), None)
    if found is None:
        raise RegistryError(404, 40402, f"Version {version} not found.")
    return found


def _schema(row: Record) -> dict[str, Any]:
    return {"subject": row["subject"], "id": row["id"], "version": row["version"], "schemaType": "JSON", "schema": row["text"]}


def _error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> ConfluentAnswer:
    return ConfluentAnswer({"error_code": code, "message": message}, status_code=status, headers=headers)
