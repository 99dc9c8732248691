"""What breaks those who rely on a published document, on made-up documents."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from barecount_contracts.breaking import breaking_routes, breaking_topics

Document = dict[str, Any]

OLD: Document = {
    "paths": {
        "/things/{name}": {
            "get": {
                "parameters": [
                    {"in": "path", "name": "name", "required": True, "schema": {"type": "string"}},
                    {"in": "query", "name": "state", "schema": {"anyOf": [{"enum": ["new", "old"], "type": "string"}, {"type": "null"}]}},
                    {"in": "header", "name": "If-Match", "schema": {"type": "string"}},
                ],
                "responses": {
                    "200": {
                        "headers": {"ETag": {}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Things"}}},
                    },
                    "404": {"content": {"application/problem+json": {"schema": {"properties": {"detail": {}}}}}},
                },
            },
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}},
                "responses": {"202": {}},
            },
        }
    },
    "components": {
        "schemas": {
            "Things": {"properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}}, "required": ["items"]},
            "Thing": {
                "properties": {"name": {"type": "string"}, "size": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
                "required": ["name"],
            },
            "Order": {
                "properties": {"colour": {"enum": ["red", "blue"]}, "amount": {"type": ["integer", "null"]}},
                "required": ["colour"],
            },
        }
    },
}


def schemas(document: Document) -> Document:
    found: Document = document["components"]["schemas"]
    return found


def get(document: Document) -> Document:
    found: Document = document["paths"]["/things/{name}"]["get"]
    return found


def post(document: Document) -> Document:
    found: Document = document["paths"]["/things/{name}"]["post"]
    return found


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d["paths"].clear(), "GET /things/{name}: the operation is gone"),
        (lambda d: d["paths"]["/things/{name}"].pop("post"), "POST /things/{name}: the operation is gone"),
        (lambda d: get(d)["parameters"].pop(1), "the query parameter state is gone"),
        (lambda d: get(d)["parameters"][1].update(required=True), "the query parameter state is required now"),
        (lambda d: get(d)["parameters"].append({"in": "query", "name": "more", "required": True}), "more is new and required"),
        (lambda d: get(d)["parameters"][1]["schema"]["anyOf"][0].update(enum=["new"]), "state no longer takes old"),
        (lambda d: get(d)["parameters"][0]["schema"].update(enum=["one"]), "name takes only one now"),
        (lambda d: get(d)["responses"].pop("200"), "the answer 200 is gone"),
        (lambda d: get(d)["responses"]["200"]["headers"].clear(), "no longer has the header ETag"),
        (lambda d: get(d)["responses"]["200"].update(content={"text/plain": {}}), "no longer given as application/json"),
        (lambda d: schemas(d)["Thing"]["properties"].pop("size"), "the answer 200 items (each) no longer has size"),
        (lambda d: schemas(d)["Thing"].update(required=[]), "does not promise name any more"),
        (lambda d: schemas(d)["Thing"]["properties"].update(name={"type": "integer"}), "may be integer now"),
        (lambda d: schemas(d)["Order"]["required"].append("amount"), "the request body demands amount now"),
        (lambda d: schemas(d)["Order"]["properties"].update(amount={"type": "integer"}), "may no longer be null"),
        (lambda d: schemas(d)["Order"]["properties"].pop("amount"), "the request body no longer has amount"),
        (lambda d: schemas(d)["Order"]["properties"]["colour"].update(enum=["red"]), "colour no longer takes blue"),
        (lambda d: post(d)["requestBody"].update(required=True), "the request body is required now"),
        (lambda d: post(d).pop("requestBody"), "the request body is gone"),
    ],
)
def test_what_a_client_relied_on_is_named_when_it_breaks(change: Callable[[Document], object], word: str) -> None:
    new = copy.deepcopy(OLD)
    change(new)
    assert any(word in line for line in breaking_routes(OLD, new)), breaking_routes(OLD, new)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["paths"].update({"/more": {"get": {}}}),
        lambda d: get(d)["parameters"].append({"in": "query", "name": "more"}),
        lambda d: get(d)["parameters"][2].update(name="if-match"),
        lambda d: get(d)["responses"].pop("404"),
        lambda d: schemas(d)["Thing"]["properties"].update(more={"type": "string"}),
        lambda d: schemas(d)["Order"]["properties"]["colour"]["enum"].append("green"),
        lambda d: schemas(d)["Order"].update(required=[]),
        lambda d: schemas(d)["Order"]["properties"].update(amount={"type": ["number", "null"]}),
    ],
)
def test_what_only_grows_breaks_nobody(change: Callable[[Document], object]) -> None:
    new = copy.deepcopy(OLD)
    change(new)
    assert breaking_routes(OLD, new) == []


TOPICS: Document = {
    "channels": {"a": {"address": "a", "messages": {"X.v1": {}}, "bindings": {"kafka": {"partitions": 4}}}},
    "operations": {"one_send_a": {}},
}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d["channels"].clear(), "a: the topic is gone"),
        (lambda d: d["channels"]["a"].update(address="b"), "a: its address was a and is b"),
        (lambda d: d["channels"]["a"]["messages"].clear(), "a: the message X.v1 is gone"),
        (lambda d: d["channels"]["a"]["bindings"]["kafka"].update(partitions=8), "a: partitions were 4 and are 8"),
        (lambda d: d["operations"].clear(), "one_send_a: the operation is gone"),
    ],
)
def test_what_a_reader_of_topics_relied_on_is_named(change: Callable[[Document], object], word: str) -> None:
    new = copy.deepcopy(TOPICS)
    change(new)
    assert any(word in line for line in breaking_topics(TOPICS, new))


def test_a_new_message_breaks_no_reader() -> None:
    new = copy.deepcopy(TOPICS)
    new["channels"]["a"]["messages"]["Y.v1"] = {}
    assert breaking_topics(TOPICS, new) == []
