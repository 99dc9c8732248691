"""Request bodies: a document in JSON or YAML becomes a dict, with one meaning."""

from __future__ import annotations

import json
from typing import Any

from barecount_chassis import Problem
from barecount_manifest import ManifestInvalid, load
from barecount_manifest import Problem as _Problem
from fastapi import Request

TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "application/json", "text/plain")


async def document(request: Request, code: str, what: str) -> dict[str, Any]:
    """The body as a mapping. Raises: Problem `code` (invalid-manifest, invalid-contract) that says where it is wrong."""
    raw = await request.body()
    try:
        text = raw.decode()
        # YAML 1.1 reads some JSON otherwise (1e3 is a text there), so what says that it is JSON is read as JSON
        return from_json(text) if "json" in request.headers.get("content-type", "") else load(text)
    except UnicodeDecodeError as error:
        problems = [{"path": "", "message": f"is not UTF-8 at byte {error.start}", "hint": "save it as UTF-8"}]
    except ManifestInvalid as error:
        problems = [problem.as_dict() for problem in error.problems]
    raise Problem(code, f"{what} cannot be read: {problems[0]['message']}", errors=problems)


def from_json(text: str) -> dict[str, Any]:
    """A JSON object with one meaning: no duplicate names, no NaN. Raises: ManifestInvalid."""
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid([_Problem("", f"is not JSON: {str(error)[:200]}", "check the place that is named")]) from error
    if not isinstance(value, dict):
        raise ManifestInvalid([_Problem("", "must be an object", "send a mapping of fields")])
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a name stands twice among {sorted(found)[:10]}")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def named(body: dict[str, Any], field: str, code: str, what: str) -> str:
    """A text field that the route needs before the domain judges the rest. Raises: Problem `code`."""
    value = body.get(field)
    if isinstance(value, str) and value:
        return value
    problem = {"path": f"/{field}", "message": "is missing", "hint": "add the field"}
    raise Problem(code, f"{what} has no {field}", errors=[problem])


def body_of(schema: str) -> dict[str, Any]:
    """The OpenAPI words for such a body."""
    content = {kind: {"schema": {"type": "object", "description": schema}} for kind in TYPES[:4]}
    return {"requestBody": {"required": True, "content": content}}
