"""The reference pages of the docs: docs/topics.md, made of topics.yaml and the schemas, and docs/http-api.md, made of openapi.json.

`python -m barecount_local.pages` (`make contracts`) writes them; a contract test compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from barecount_contracts import CHANGES, Topic, catalogue, permissions, problem_types
from barecount_contracts.schema import published, schemas

DOCS: Final = Path(__file__).resolve().parents[3] / "docs"
MADE: Final = "<!-- Made by `make contracts` from contracts/; change those. -->"


def pages() -> dict[str, str]:
    """File name under docs/ -> exact text."""
    document = json.loads((files("barecount_contracts") / "openapi.json").read_text())
    return {"topics.md": "\n".join(topics_page()) + "\n", "http-api.md": "\n".join(http_page(document)) + "\n"}


def topics_page() -> Iterator[str]:
    """docs/topics.md: every topic, its payloads and their fields."""
    rows = catalogue().topics
    yield "# Topics"
    yield MADE
    yield ""
    yield (
        "Every record's value is an [envelope](#envelope) as compact JSON around one of the payloads below; on `state.changes` it is the "
        "data of a CloudEvent in Kafka binary mode. A record stands in the partition `murmur2(key) mod partitions` (librdkafka: "
        "`partitioner=murmur2_random`). Examples are whole records in `contracts/examples/`, schemas in `contracts/schemas/`; the running "
        "stack serves the same as AsyncAPI 3 at `/asyncapi.json`."
    )
    yield ""
    yield "| topic | key | partitions | kept | written by | read by |"
    yield "|---|---|---|---|---|---|"
    for topic in rows.values():
        cells = (f"[`{topic.name}`](#{_anchor(topic.name)})", topic.key, topic.partitions, topic.retention)
        yield "| " + " | ".join(map(str, (*cells, ", ".join(topic.writers), ", ".join(topic.readers)))) + " |"
    yield ""
    yield "## Envelope"
    yield from _fields(schemas()["Envelope.v1"])
    for topic in rows.values():
        yield from _topic(topic)
    yield ""
    yield "## Public change types"
    yield "Types of `state.changes`, of webhooks and of the stream. Filters take them exact, by kind as `run.*`, or `*`."
    yield ""
    yield "| type | meaning | told by |"
    yield "|---|---|---|"
    for name, (source, about) in CHANGES.items():
        yield f"| `{name}` | {about} | `{source}` |"


def _topic(topic: Topic) -> Iterator[str]:
    yield ""
    yield f"## {topic.name}"
    yield topic.about
    for name in topic.payloads:
        cls = published()[name.rpartition(".v")[0], int(name.rpartition(".v")[2])]
        yield ""
        yield f"### {name}"
        links = f"[Schema](../contracts/schemas/{name}.json), [example](../contracts/examples/{name}.json)."
        yield f"{' '.join((cls.__doc__ or '').split())} {links}"
        rule = permissions().commands.get(cls.TYPE) if topic.is_inbox else None
        if rule is not None:
            yield f"Needs `{rule.action}`; asserted by {', '.join(rule.issuers)}."
        yield from _fields(schemas()[name])


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    properties = schema.get("properties", {})
    if not properties:
        return
    yield ""
    yield "| field | type | what |"
    yield "|---|---|---|"
    for name, field in properties.items():
        needed = "" if name in schema.get("required", ()) else "?"
        yield f"| `{name}{needed}` | {_kind(field)} | {_cell(field.get('description', ''))} |"


def http_page(document: dict[str, Any]) -> Iterator[str]:
    """docs/http-api.md: every operation, what it needs, takes and may refuse."""
    schemas_of = document["components"]["schemas"]
    yield "# HTTP API"
    yield MADE
    yield ""
    yield document["info"]["description"]
    yield ""
    yield "The running stack serves the same as OpenAPI 3.1 at `/openapi.json`."
    for tag in document["tags"]:
        listed = [
            (path, method, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if operation["tags"][0] == tag["name"]
        ]
        if not listed:
            continue
        yield ""
        yield f"## {tag['name'].capitalize()}"
        yield tag["description"] + "."
        for path, method, operation in listed:
            yield from _operation(path, method, operation, schemas_of)
    yield ""
    yield "## Problems"
    yield "| code | status | title | what to do |"
    yield "|---|---|---|---|"
    for code, row in problem_types().items():
        yield f"| `{code}` | {row.status} | {_cell(row.title)} | {_cell(row.remedy)} |"
    yield ""
    yield "## Who may do what"
    yield "| action | what | roles |"
    yield "|---|---|---|"
    for action, about in permissions().actions.items():
        roles = ", ".join(role for role, granted in permissions().roles.items() if action in granted)
        yield f"| `{action}` | {_cell(about)} | {roles} |"


def _operation(path: str, method: str, operation: dict[str, Any], parts: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"### {method.upper()} {path}"
    yield " ".join(operation["description"].split())
    rows = [(f"`{one['name']}`", one["in"], one.get("description", "")) for one in operation.get("parameters", ()) if "name" in one]
    if any(one.get("$ref", "").endswith("/Prefer") for one in operation.get("parameters", ())):
        rows.append(("`Prefer`", "header", "`wait=<seconds>`: answer with the outcome"))
    for media in operation.get("requestBody", {}).get("content", {}).values():
        schema = _resolved(media.get("schema", {}), parts)
        needed = schema.get("required", ())
        rows += [
            (f"`{name}{'' if name in needed else '?'}`", "body", field.get("description", ""))
            for name, field in schema.get("properties", {}).items()
        ]
    if rows:
        yield ""
        yield "| name | in | what |"
        yield "|---|---|---|"
        for name, place, about in rows:
            yield f"| {name} | {place} | {_cell(about)} |"


def _resolved(schema: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    return parts.get(reference.rpartition("/")[2], {}) if reference else schema


def _kind(field: dict[str, Any]) -> str:
    match field:
        case {"$ref": str(reference)}:
            return reference.rpartition("/")[2]
        case {"anyOf": options} | {"oneOf": options}:
            return " or ".join(kind for option in options if (kind := _kind(option)) != "null")
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"type": "array"}:
            inside: dict[str, Any] = field.get("items") or next(iter(field.get("prefixItems", ())), {})
            return f"list of {_kind(inside)}"
        case {"type": str(kind)}:
            return str(field.get("format", kind))
        case _:
            return "any"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _anchor(name: str) -> str:
    return name.lower().replace(".", "")


def main() -> int:
    for name, text in pages().items():
        file = DOCS / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            print(f"wrote docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
