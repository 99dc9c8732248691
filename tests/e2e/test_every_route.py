"""Every route, every role, every tenant, on the running product: who is answered, who is refused, and what a stranger can tell."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from barecount_chassis import issue_token
from barecount_contracts import Position, permissions
from barecount_readmodel import Token, token_secret

from tests.support.routes import Operation, of_path, operations, things_of_the_story
from tests.support.stack import Stack

ROLES = ("developer", "operator", "governance", "tenant_admin", "auditor")
# of this call alone, the same for whoever asks
OF_THE_CALL = ("command_id", "instance", "trace_id")
# hashes of the whole log, the same for every tenant: nothing that a tenant owns is named there
OF_EVERYBODY = ("/tile/{path}", "/evidence/consistency")

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("story")]


@pytest.fixture(scope="module")
def document(product: Stack) -> dict[str, Any]:
    answer = httpx.get(f"http://127.0.0.1:{product.port}/openapi.json", trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    found = answer.json()
    assert isinstance(found, dict)
    return found


def test_every_read_that_takes_a_consistency_token_refuses_one_that_another_tenant_was_given(
    product: Stack, document: dict[str, Any]
) -> None:
    client, failures = product.client(), list[str]()
    things, secret = things_of_the_story(client), token_secret(product.settings.keys)
    stolen = Token.of(Position(topic="pipelines.commands", partition=0, offset=0)).encode(secret, "globex")
    taking = [one for one in operations(document) if one.reads and _takes_token(document["paths"][one.path]["get"])]
    services = {one.path.split("/")[1] for one in taking}
    assert {"pipelines", "runs", "lineage", "evidence", "webhooks"} <= services, "of each service that has a read model"
    client.http.headers["X-Consistency-Token"] = stolen
    for operation in taking:
        answer = operation.call(client.http, of_path(things, operation.path), client.token)
        # some answer octets
        if answer.status_code != 400 or answer.json()["code"] != "token-foreign":
            failures.append(f"{operation}: {answer.status_code} {answer.text[:200]}")
    assert not failures, "\n".join(failures)


def _takes_token(operation: dict[str, Any]) -> bool:
    return any(one.get("name") == "X-Consistency-Token" for one in operation.get("parameters", ()))


def test_the_documents_are_there_without_a_token(product: Stack, document: dict[str, Any]) -> None:
    topics = httpx.get(f"http://127.0.0.1:{product.port}/asyncapi.json", trust_env=False)
    assert (topics.status_code, topics.headers["content-type"]) == (200, "application/json")
    assert topics.json()["asyncapi"] == "3.0.0"
    assert document["openapi"].startswith("3.1")


def test_every_route_answers_each_role_of_each_tenant_as_the_permissions_say(product: Stack, document: dict[str, Any]) -> None:
    things, failures = things_of_the_story(product.client()), list[str]()
    key = (product.data / "keys" / "issuer.pem").read_bytes()

    def token(role: str, tenant: str, minutes: int = 10) -> str:
        return issue_token(key, subject=f"{role}@{tenant}", tenant=tenant, roles=[role], ttl=timedelta(minutes=minutes))

    strangers = {"no token": None, "a garbage token": "a.b.c", "an expired token": token("tenant_admin", "acme", minutes=-10)}
    with httpx.Client(base_url=f"http://127.0.0.1:{product.port}", trust_env=False, timeout=30) as http:
        for operation in operations(document):
            # writes of the own tenant name what nobody has, so that the walk changes nothing
            own = of_path(things, operation.path)
            asked = own if operation.reads else _unknown(own)
            for who, credential in strangers.items():
                answer = operation.call(http, asked, credential)
                if (answer.status_code, _code(answer)) != (401, "unauthenticated"):
                    failures.append(f"{operation} with {who}: {answer.status_code} {_code(answer)} instead of 401")
            for tenant in ("acme", "initech"):
                for role in ROLES:
                    answer = operation.call(http, asked, token(role, tenant))
                    allowed = permissions().allowed(role, operation.action)
                    if answer.status_code >= 500:
                        failures.append(f"{operation} as {role} of {tenant}: {answer.status_code} {answer.text[:200]}")
                    elif allowed == (answer.status_code == 403):
                        failures.append(f"{operation} as {role} of {tenant}: {answer.status_code}, though {allowed=} ({operation.action})")
    assert not failures, f"{len(failures)} answers are not what contracts/permissions.yaml says:\n" + "\n".join(failures)


def test_what_another_tenant_owns_answers_like_what_does_not_exist(product: Stack, document: dict[str, Any]) -> None:
    things, failures, compared = things_of_the_story(product.client()), list[str](), 0
    other = product.client("tenant_admin", "initech")
    for operation in operations(document):
        own = of_path(things, operation.path)
        if operation.path in OF_EVERYBODY or not _names_a_thing(operation, own):
            continue
        unknown = _unknown(own)
        # a new key for each: the commands differ, and only they may
        there = operation.call(other.http, own, other.token, wait=True)
        nowhere = operation.call(other.http, unknown, other.token, wait=True)
        compared += 1
        if (there.status_code, _told(there, own, own)) != (nowhere.status_code, _told(nowhere, unknown, own)):
            answers = "\n".join(f"  {one.status_code} {one.text[:300]}" for one in (there, nowhere))
            failures.append(f"{operation} {own}:\n{answers}")
        if there.status_code < 300 and any(_items(there)):
            failures.append(f"{operation} {own}: shows {there.text[:300]}")
    assert compared > 20
    assert not failures, f"{len(failures)} routes tell a stranger what exists:\n" + "\n".join(failures)


def _names_a_thing(operation: Operation, own: dict[str, Any]) -> bool:
    return any(name in own for name in operation.names) or operation.path in ("/pipelines/replay", "/governance/decisions")


def _unknown(own: dict[str, Any]) -> dict[str, Any]:
    """The same names for things that nobody has: as long as the real ones, and as well formed."""

    def other(name: str, value: Any) -> Any:
        if name in ("version", "from"):
            return value
        if isinstance(value, int):
            return 2_000_000_000
        if name == "command_id":
            return str(uuid4())
        return value if name == "path" else re.sub(r"[a-z]", "x", str(value), count=6)

    return {name: other(name, value) for name, value in own.items()}


def _told(answer: httpx.Response, asked: dict[str, Any], own: dict[str, Any]) -> str:
    """The body with the asked names put back to the real ones, without what belongs to the call alone."""
    text = answer.text
    for name, value in asked.items():
        if value != own[name]:
            text = re.sub(rf"(?<!\w){re.escape(str(value))}(?!\w)", str(own[name]).replace("\\", r"\\"), text)
    if "json" not in answer.headers["content-type"]:
        return text
    body = json.loads(text)
    if isinstance(body, dict):
        for name in OF_THE_CALL:
            # what was asked for stays, and a call's own id is left out
            if name in body and not (name == "command_id" and body[name] == own.get("command_id")):
                body.pop(name)
    return json.dumps(body)


def _items(answer: httpx.Response) -> list[Any]:
    body = answer.json()
    if isinstance(body, dict):
        return list(body.get("items", ()))
    return list(body)


def _code(answer: httpx.Response) -> str | None:
    try:
        found = answer.json().get("code")
    except (ValueError, AttributeError):
        return None
    return str(found)


def test_an_unknown_path_and_a_wrong_method_are_problems_too(product: Stack) -> None:
    operator = product.client("operator")
    headers = {"Authorization": f"Bearer {operator.token}"}
    for method, path, status, code in (
        ("GET", "/nothing-here", 404, "not-found"),
        ("PATCH", "/pipelines", 405, "method-not-allowed"),
        ("GET", "/runs/a/b/c", 404, "not-found"),
        ("POST", "/openapi.json", 405, "method-not-allowed"),
    ):
        answer = operator.http.request(method, path, headers=headers)
        assert (answer.status_code, _code(answer)) == (status, code), f"{method} {path}: {answer.text}"
        assert answer.headers["content-type"].startswith("application/problem+json")
        # a service's 404 names its call in the header alone: the body is the same for whoever asks
        assert UUID(answer.headers.get("X-Request-Id") or answer.json()["instance"].removeprefix("urn:uuid:"))
