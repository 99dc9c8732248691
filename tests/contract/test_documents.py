"""The published documents: what the code says, valid by their own standards, and never taking away what somebody relies on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest
from barecount_contracts import catalogue, permissions, problem_types
from barecount_contracts.breaking import breaking_routes, breaking_topics
from barecount_local.documents import documents, place
from barecount_local.pages import pages
from barecount_local.routes import DOCUMENTS, ROUTES

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
FILES = "contracts/barecount_contracts"
COMPARE: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]] = {
    "openapi.json": breaking_routes,
    "asyncapi.json": breaking_topics,
}


@cache
def made() -> dict[str, str]:
    return documents()


@cache
def openapi() -> dict[str, Any]:
    found = json.loads(made()["openapi.json"])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", sorted(COMPARE))
def test_a_published_document_says_what_the_code_says(name: str) -> None:
    file = ROOT / "contracts" / name
    assert file.exists(), f"contracts/{name} is missing: run `make contracts`"
    assert file.read_text() == made()[name], f"contracts/{name} and the code disagree: run `make contracts` and look at the difference"


@pytest.mark.parametrize("name", ["topics.md", "http-api.md"])
def test_a_reference_page_says_what_the_contracts_say(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == pages()[name], f"docs/{name} and the contracts disagree: run `make contracts`"


@pytest.mark.parametrize("name", sorted(COMPARE))
def test_a_change_of_a_document_breaks_nobody(name: str) -> None:
    """Compared with what was published before: the committed text when the code has moved on, else the one before the newest commit."""
    before = _published_before(name)
    if before is None:
        pytest.skip("nothing was published before")
    old, new = json.loads(before), json.loads(made()[name])
    if _major(old) < _major(new):
        pytest.skip("a new major version may break")
    broken = COMPARE[name](old, new)
    assert not broken, (
        f"contracts/{name} takes away what clients rely on; keep it beside the new, or raise the major version:\n" + "\n".join(broken)
    )


def test_openapi_is_valid() -> None:
    openapi_spec_validator.validate(openapi())


def test_asyncapi_is_valid_by_its_official_schema() -> None:
    schema = json.loads((HERE / "asyncapi" / "3.0.0.json").read_text())
    found = jsonschema.Draft7Validator(schema).iter_errors(json.loads(made()["asyncapi.json"]))
    assert [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in found] == []


def test_every_reference_of_asyncapi_leads_somewhere() -> None:
    document = json.loads(made()["asyncapi.json"])
    for reference in _references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in found, f"{reference} leads nowhere"
            found = found[part]
    assert {channel["address"] for channel in document["channels"].values()} == set(catalogue().topics)


def test_every_operation_names_its_permission_its_words_and_its_refusals() -> None:
    for path, item in openapi()["paths"].items():
        for method, operation in item.items():
            at = f"{method.upper()} {path}"
            assert operation["x-permission"] in permissions().actions, at
            assert len(operation["summary"]) <= 140, f"{at}: {operation['summary']}"
            assert operation["description"], at
            assert {"401", "403", "422", "500", "503"} <= set(operation["responses"]), at
            answers = [one for status, one in operation["responses"].items() if status.startswith("2")]
            assert answers, at
            assert all(one["content"] for one in answers), f"{at}: an answer without a content type"


def test_a_write_documents_what_may_stand_beside_it() -> None:
    for path, item in openapi()["paths"].items():
        for method, operation in item.items():
            if method == "get" or operation["tags"] == ["schema registry"]:
                continue
            named = {one.get("name") or one["$ref"].rpartition("/")[2] for one in operation["parameters"]}
            assert {"Prefer", "Idempotency-Key"} <= named, f"{method.upper()} {path}"
            for status in operation["responses"]:
                if status.startswith("2"):
                    assert {"Location", "X-Consistency-Token"} <= set(operation["responses"][status]["headers"]), f"{path} {status}"


def test_a_refusal_names_codes_of_its_status_only() -> None:
    rows = problem_types()
    for name, answer in openapi()["components"]["responses"].items():
        problem = answer["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]
        assert {rows[code].status for code in problem["code"]["enum"]} == {problem["status"]["const"]}, name


def test_every_documented_route_has_a_service_at_the_edge() -> None:
    """The edge's table and the documents agree on which service answers."""
    for path, item in openapi()["paths"].items():
        for method in item:
            fits = [
                route
                for route in ROUTES
                if (not route.methods or method.upper() in route.methods)
                and any(path == prefix or path.startswith(prefix + "/") for prefix in route.paths)
            ]
            assert fits, f"deploy/local/barecount_local/routes.py sends {method.upper()} {path} nowhere"


def test_the_documents_are_laid_where_the_edge_serves_them(tmp_path: Path) -> None:
    place(tmp_path / "edge")
    assert {f"/{file.name}" for file in (tmp_path / "edge").iterdir()} == set(DOCUMENTS)
    assert (tmp_path / "edge" / "openapi.json").read_text() == (ROOT / "contracts" / "openapi.json").read_text()


def _published_before(name: str) -> str | None:
    file = f"{FILES}/{name}"
    listed = _git("log", "-2", "--format=%H", "--", file)
    commits = (listed or "").split()
    if not commits:
        return None
    newest = _git("show", f"{commits[0]}:{file}")
    if newest != made()[name]:
        return newest
    return _git("show", f"{commits[1]}:{file}") if len(commits) > 1 else None


def _git(*words: str) -> str | None:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _major(document: Mapping[str, Any]) -> int:
    return int(document["info"]["version"].split(".")[0])


def _references(value: Any) -> list[str]:
    match value:
        case {"$ref": str(reference), **rest}:
            return [reference, *(one for part in rest.values() for one in _references(part))]
        case dict():
            return [one for part in value.values() for one in _references(part)]
        case list():
            return [one for part in value for one in _references(part)]
        case _:
            return []
