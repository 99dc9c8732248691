"""The published documents: OpenAPI 3.1 of every public route and AsyncAPI 3.0 of every topic, made from the code, offline.

`python -m barecount_local.documents` (`make contracts`) writes contracts/openapi.json and contracts/asyncapi.json; `place` lays them
where the edge serves them. They are made here because contracts/ may not import the services whose routes they describe.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from barecount_contracts import permissions, problem_types
from barecount_contracts.schema import asyncapi, schema_text

Document = dict[str, Any]

# as the edge's table of routes sends the calls
SERVICES: Final = ("command", "execution", "lineage", "evidence", "webhooks", "streams")
NAMES: Final = ("openapi.json", "asyncapi.json")
PROBLEM_TYPE: Final = "application/problem+json"
REGISTRY_TYPE: Final = "application/vnd.schemaregistry.v1+json"
REGISTRY: Final = "schema registry"
METHODS: Final = frozenset({"get", "put", "post", "delete"})

ABOUT: Final = """Control data pipelines: contracts, manifests, runs, replays, approvals, lineage and evidence.

Every call carries a bearer token; the tenant is the token's. What another tenant owns and what does not exist get the same answer.
A refusal is a problem document (RFC 9457) whose `code` is a row of contracts/problems.yaml; the schema registry's routes answer as
the Confluent registry does. A write answers 202 with the command's link, or, with `Prefer: wait=<seconds>`, its outcome, if that can be
told by then. Lists answer `items` and `next_cursor`. `x-permission` names the action that contracts/permissions.yaml gives to roles."""

TAGS: Final = {
    "contracts": "Data contracts: Open Data Contract Standard documents by name and version",
    "schema registry": "JSON Schemas by subject, in the words of Confluent's REST API",
    "pipelines": "Manifests, versions, environments",
    "runs": "Start, cancel, replay, watch",
    "slos": "Objectives and how they are kept",
    "workers": "Who works",
    "governance": "What waits for a person, and decisions",
    "publishers": "Systems that sign commands and publish them to the topic",
    "commands": "What became of a command",
    "lineage": "Where data came from",
    "webhooks": "Events delivered to your address, signed (Standard Webhooks), retried, recorded",
    "evidence": "What happened, proven; the ledger is served as C2SP tlog-tiles too",
    "stream": "What happens, as it happens: state changes as CloudEvents",
}

ALWAYS: Final = ("unauthenticated", "forbidden", "invalid-request", "internal-error", "evidence-unavailable", "service-unavailable")
WITH_TOKEN: Final = ("token-malformed", "token-foreign", "token-future", "not-yet-projected")
AS_OF: Final = ("as-of-malformed", "as-of-foreign", "as-of-future", "as-of-too-long", "not-yet-projected")
# refusals that every command may meet, whatever it asks
WITH_COMMAND: Final = ("payload-too-large", "idempotency-key-reused")

PREFER: Final[Document] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "examples": ["wait=5"]},
    "description": "`wait=<seconds>` (RFC 7240, at most 30): answer with the outcome; 202 when it is not known by then, or cannot be read",
}
HEADERS: Final[Document] = {
    "RequestId": {"description": "Names this call, as its evidence record does", "schema": {"type": "string", "format": "uuid"}},
    "ConsistencyToken": {"description": "Send it with a read to see this write", "schema": {"type": "string"}},
    "Location": {"description": "What was made, or the command", "schema": {"type": "string", "format": "uri-reference"}},
    "PreferenceApplied": {"description": "`wait` when the answer is the outcome", "schema": {"type": "string"}},
}
REGISTRY_ERROR: Final[Document] = {
    "type": "object",
    "title": "RegistryError",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "integer", "description": "As Confluent's"}, "message": {"type": "string"}},
}


def documents() -> dict[str, str]:
    """File name -> exact text, of both documents."""
    return {"openapi.json": schema_text(openapi()), "asyncapi.json": schema_text(asyncapi(version()))}


def version() -> str:
    return importlib.metadata.version("barecount-local")


def place(folder: Path) -> None:
    """Lays the published documents into a folder that the edge serves."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        with (files("barecount_contracts") / name).open("rb") as source, (folder / name).open("wb") as target:
            shutil.copyfileobj(source, target)


def openapi() -> Document:
    """One document of all services' public routes.

    Raises: ValueError when two services mean different things by one path, operation or schema.
    """
    from barecount_chassis.problems import SCHEMA

    merged: Document = {
        "openapi": "3.1.0",
        "info": {"title": "Pipeline APIs", "version": version(), "description": ABOUT},
        "servers": [{"url": "/", "description": "The edge of this installation"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": {},
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "`barecount token` issues one locally"}
            },
            "headers": HEADERS,
            "parameters": {"Prefer": PREFER},
            "responses": {},
            "schemas": {"Problem": SCHEMA, "RegistryError": REGISTRY_ERROR},
        },
    }
    for service in SERVICES:
        _add(merged, service)
    for kind in ("responses", "schemas"):
        merged["components"][kind] = dict(sorted(merged["components"][kind].items()))
    ids = [operation["operationId"] for item in merged["paths"].values() for operation in item.values()]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise ValueError(f"operations of one name: {', '.join(twice)}; rename the route's function")
    return merged


def _add(merged: Document, service: str) -> None:
    from barecount_chassis import Settings, route_permissions

    app = importlib.import_module(f"barecount_{service}.app").build(Settings(service=service, kafka_bootstrap="offline:0"))
    own, actions = app.openapi(), route_permissions(app)
    waits = {f"{method} {route.path}": _depends_on(route, "prefer_wait") for route, method in _routes(app)}
    names = {f"{method} {route.path}": route.name for route, method in _routes(app)}
    for path, item in own["paths"].items():
        for method, operation in item.items():
            # a path parameter of more than one segment is written `{path:path}` in the route
            at = next(key for key in names if key.split(" ")[0] == method.upper() and re.sub(r":\w+}", "}", key.split(" ", 1)[1]) == path)
            told = _operation(service, names[at], operation, str(actions[at]), merged["components"]["responses"], waits=waits[at])
            if merged["paths"].setdefault(path, {}).setdefault(method, told) is not told:
                raise ValueError(f"{method.upper()} {path} is answered by two services")
    for name, schema in own.get("components", {}).get("schemas", {}).items():
        if merged["components"]["schemas"].setdefault(name, schema) != schema:
            raise ValueError(f"two services have a schema called {name} and mean different things: rename one")


def _routes(app: Any) -> Iterator[tuple[Any, str]]:
    from fastapi.routing import iter_route_contexts

    for route in iter_route_contexts(app.routes):
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield route, method


def _depends_on(route: Any, name: str) -> bool:
    waiting = [getattr(route, "dependant", None)]
    while waiting:
        one = waiting.pop()
        if one is None:
            continue
        if getattr(one.call, "__name__", "") == name:
            return True
        waiting += one.dependencies
    return False


def _operation(service: str, name: str, operation: Document, action: str, refusals: Document, *, waits: bool) -> Document:
    tags = operation.get("tags") or [service]
    about = operation.get("description", "")
    parameters = [*operation.get("parameters", []), *([{"$ref": "#/components/parameters/Prefer"}] if waits else [])]
    codes = _codes(operation, about, waits=waits)
    told: Document = {
        "tags": tags,
        "operationId": _operation_id(tags[0], name),
        "summary": operation["summary"] if operation["summary"] != _title(name) else _first_sentence(about),
        "description": f"{about}\n\nNeeds the permission `{action}` ({permissions().actions[action]}).".strip(),
        "x-permission": action,
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": operation["requestBody"]} if "requestBody" in operation else {}),
        "responses": {},
    }
    answers = {status: dict(answer) for status, answer in operation["responses"].items() if status.startswith(("2", "3"))}
    for status, answer in sorted(answers.items()):
        headers = {**answer.get("headers", {}), "X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
        if waits:
            headers["Location"] = {"$ref": "#/components/headers/Location"}
            headers["X-Consistency-Token"] = {"$ref": "#/components/headers/ConsistencyToken"}
            if status != "202":
                headers["Preference-Applied"] = {"$ref": "#/components/headers/PreferenceApplied"}
        told["responses"][status] = {**answer, "description": _worded(status, answer, waits), "headers": headers}
    for status, found in sorted(codes.items()):
        # the same refusals stand once; the name says which they are
        name = ".".join([*(["registry"] if tags[0] == REGISTRY else []), str(status), *found])
        refusals.setdefault(name, _refusal(status, found, registry=tags[0] == REGISTRY))
        told["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}
    return told


def _operation_id(tag: str, name: str) -> str:
    # route functions have short names in their own room
    prefix = {REGISTRY: "registry", "evidence": "evidence", "lineage": "lineage"}.get(tag, "")
    return name if not prefix or name == prefix else f"{prefix}_{name}"


def _codes(operation: Document, about: str, *, waits: bool) -> dict[int, list[str]]:
    """Status -> the problem codes of an operation: what its kind implies, and those that its description names in backticks."""
    listed = list(ALWAYS)
    headers = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "header"}
    if any(one["in"] == "path" for one in operation.get("parameters", ())):
        listed.append("not-found")
    if "X-Consistency-Token" in headers:
        listed += WITH_TOKEN
    if any(one.get("name") == "as_of" for one in operation.get("parameters", ())):
        listed += AS_OF
    if waits or "requestBody" in operation:
        listed += WITH_COMMAND
    rows = problem_types()
    listed += [code for code in re.findall(r"`([a-z-]+)`", about) if code in rows]
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(listed):
        by_status.setdefault(rows[code].status, []).append(code)
    return by_status


def _refusal(status: int, codes: list[str], *, registry: bool) -> Document:
    rows = problem_types()
    problem = {
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"type": "object", "properties": {"status": {"const": status}, "code": {"enum": codes}}},
        ]
    }
    content: Document = {PROBLEM_TYPE: {"schema": problem}}
    # without a token nothing reaches the registry's own routes
    if registry and status != 401:
        content[REGISTRY_TYPE] = {"schema": {"$ref": "#/components/schemas/RegistryError"}}
    answer: Document = {
        "description": "; ".join(f"`{code}`: {rows[code].title}" for code in codes),
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}},
        "content": content,
    }
    if status == 401:
        answer["headers"]["WWW-Authenticate"] = {"description": "RFC 6750", "schema": {"type": "string"}}
    if status == 503:
        answer["headers"]["Retry-After"] = {"description": "Seconds", "schema": {"type": "string"}}
    return answer


def _worded(status: str, answer: Document, waits: bool) -> str:
    if not waits:
        return str(answer["description"])
    return "The command stands in the log; its outcome is not known yet" if status == "202" else "The command was decided: `event`"


def _title(name: str) -> str:
    """The summary that FastAPI makes of a function's name."""
    return name.replace("_", " ").title()


def _first_sentence(text: str) -> str:
    flat = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[^.])[.] ", flat)[0].rstrip(".")


def main() -> int:
    folder = Path(str(files("barecount_contracts")))
    for name, text in documents().items():
        file = folder / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            print(f"wrote contracts/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
