"""The contract files that follow from the typed messages: JSON Schemas of every payload and of the envelope, and AsyncAPI 3."""

from __future__ import annotations

import json
from typing import Any

from .catalogue import Catalogue, Topic, catalogue
from .envelope import Envelope
from .message import REGISTRY, Message, Part
from .records import CoverageLeaf, EvidenceRecord

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """File stem -> JSON Schema (draft 2020-12): each payload as `<Type>.v<N>`, and the forms around and inside them."""
    found = {f"{name}.v{version}": _schema(cls, f"{name}.v{version}") for (name, version), cls in REGISTRY.items()}
    for form in (Envelope, EvidenceRecord, CoverageLeaf):
        found[f"{form.__name__}.v1"] = _schema(form, f"{form.__name__}.v1")
    return dict(sorted(found.items()))


def schema_text(schema: dict[str, Any]) -> str:
    """A schema file's exact text."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def asyncapi(version: str = "0.1.0") -> dict[str, Any]:
    """The AsyncAPI 3.0 document of all topics, from the catalogue and the payload classes."""
    rows = catalogue()
    bodies = schemas()
    messages = {name: _message(name, body) for name, body in bodies.items() if _is_payload(name)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Pipeline APIs: topics",
            "version": version,
            "description": "Every record's value is an Envelope (JSON) whose `data` is one of the payloads below.",
        },
        "defaultContentType": "application/json",
        "channels": {_channel_id(topic): _channel(topic) for topic in rows.topics.values()},
        "operations": _operations(rows),
        "components": {"messages": messages, "schemas": {"Envelope.v1": bodies["Envelope.v1"]}},
    }


def _schema(cls: type[Part], title: str) -> dict[str, Any]:
    body = cls.model_json_schema(mode="validation")
    body.pop("title", None)
    return {"$schema": DIALECT, "$id": f"https://barecount.io/schemas/{title}.json", "title": title, **body}


def _is_payload(name: str) -> bool:
    type_name, _, version = name.rpartition(".v")
    return (type_name, int(version)) in REGISTRY


def _message(name: str, body: dict[str, Any]) -> dict[str, Any]:
    cls: type[Message] = REGISTRY[name.rpartition(".v")[0], int(name.rpartition(".v")[2])]
    return {
        "name": name,
        "title": cls.TYPE,
        "summary": (cls.__doc__ or "").strip().split("\n")[0] or cls.TYPE,
        "contentType": "application/json",
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/Envelope.v1"},
                {"type": "object", "properties": {"type": {"const": cls.TYPE}, "version": {"const": cls.VERSION}, "data": body}},
            ]
        },
    }


def _channel_id(topic: Topic) -> str:
    return topic.name.replace(".", "_")


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": topic.about,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in topic.payloads},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": topic.retention_ms,
                    "max.message.bytes": topic.max_bytes,
                },
            }
        },
    }


def _operations(rows: Catalogue) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for topic in rows.topics.values():
        channel = {"$ref": f"#/channels/{_channel_id(topic)}"}
        for verb, services in (("send", topic.writers), ("receive", topic.readers)):
            for service in services:
                found[f"{service}_{verb}_{_channel_id(topic)}"] = {"action": verb, "channel": channel, "tags": [{"name": service}]}
    return found
