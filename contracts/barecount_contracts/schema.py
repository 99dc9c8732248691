"""The contract files that follow from the typed messages: JSON Schemas of every payload and of the envelope, and AsyncAPI 3."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from .catalogue import Catalogue, Topic, catalogue
from .changes import CloudEvent
from .envelope import Envelope
from .message import REGISTRY, Message, Part
from .records import CoverageLeaf, EvidenceRecord

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def published() -> dict[tuple[str, int], type[Message]]:
    """The payload classes of the contracts: (type, version) -> class. Tests may register others."""
    return {key: cls for key, cls in REGISTRY.items() if cls.__module__.startswith(f"{__package__}.")}


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """File stem -> JSON Schema (draft 2020-12): each payload as `<Type>.v<N>`, and the forms around and inside them."""
    found = {f"{name}.v{version}": _schema(cls, f"{name}.v{version}") for (name, version), cls in published().items()}
    for form in (Envelope, EvidenceRecord, CoverageLeaf):
        found[f"{form.__name__}.v1"] = _schema(form, f"{form.__name__}.v1")
    return dict(sorted(found.items()))


def schema_text(schema: dict[str, Any]) -> str:
    """The exact text of a schema file or a document."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def asyncapi(version: str) -> dict[str, Any]:
    """The AsyncAPI 3.0 document of all topics, from the catalogue and the payload classes."""
    rows = catalogue()
    parts: dict[str, Any] = {}
    for name, body in schemas().items():
        _hoist(name, body, parts)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Pipeline APIs: topics",
            "version": version,
            "description": (
                "Every record's value is an Envelope as compact JSON, whose `data` is one of the payloads below; those of state.changes "
                "are CloudEvents in binary mode. Commands go to the inboxes (`*.commands`), which answer each of them with exactly one "
                "outcome event. A record stands in the partition murmur2(key) mod partitions."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {_channel_id(topic): _channel(topic) for topic in rows.topics.values()},
        "operations": _operations(rows),
        "components": {
            "messages": {name: _message(name) for name in schemas() if _is_payload(name)},
            "messageTraits": {"record": _RECORD, "cloudevent": _CLOUDEVENT},
            "schemas": dict(sorted(parts.items())),
        },
    }


# what every record has around its payload
_RECORD: dict[str, Any] = {
    "contentType": "application/json",
    "correlationId": {"description": "The id of the command with which the chain began", "location": "$message.payload#/correlation"},
    "headers": {
        "type": "object",
        "required": ["type", "content-type"],
        "properties": {
            "type": {"type": "string", "description": "The envelope's type, readable without parsing the value"},
            "content-type": {"type": "string", "const": "application/json"},
            "traceparent": {"type": "string", "description": "W3C trace context of the call with which it began"},
            "inbox-offset": {"type": "string", "description": "On an owner's events: the inbox offset that they answer"},
        },
    },
}


# a CloudEvent 1.0 in the Kafka protocol binding's binary mode: attributes as headers, the value is the data alone
_CLOUDEVENT: dict[str, Any] = {
    "contentType": "application/json",
    "headers": {
        "type": "object",
        "required": ["content-type", "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_tenant"],
        "properties": {
            "content-type": {"type": "string", "const": "application/json"},
            **{
                f"ce_{name}": {"type": "string", "description": str(field.description or "")}
                for name, field in CloudEvent.model_fields.items()
                if name not in ("data", "datacontenttype")
            },
        },
    },
}


def _schema(cls: type[Part], title: str) -> dict[str, Any]:
    body = cls.model_json_schema(mode="validation")
    body.pop("title", None)
    return {"$schema": DIALECT, "$id": f"https://barecount.io/schemas/{title}.json", "title": title, **body}


def _is_payload(name: str) -> bool:
    type_name, _, version = name.rpartition(".v")
    return (type_name, int(version)) in published()


def _message(name: str) -> dict[str, Any]:
    cls = published()[name.rpartition(".v")[0], int(name.rpartition(".v")[2])]
    if any(name in topic.payloads for topic in catalogue().topics.values() if topic.form == "cloudevent"):
        return {
            "name": name,
            "title": cls.TYPE,
            "summary": (cls.__doc__ or "").strip().split("\n")[0],
            "traits": [{"$ref": "#/components/messageTraits/cloudevent"}],
            "payload": {"$ref": _SCHEMAS + name},
        }
    said = {"type": {"const": cls.TYPE}, "version": {"const": cls.VERSION}, "data": {"$ref": _SCHEMAS + name}}
    return {
        "name": name,
        "title": cls.TYPE,
        "summary": (cls.__doc__ or "").strip().split("\n")[0],
        "traits": [{"$ref": "#/components/messageTraits/record"}],
        "payload": {"allOf": [{"$ref": f"{_SCHEMAS}Envelope.v1"}, {"type": "object", "properties": said}]},
    }


_SCHEMAS = "#/components/schemas/"


def _hoist(name: str, body: dict[str, Any], parts: dict[str, Any]) -> None:
    """Puts a schema and its parts into the document's components: there `#/$defs/` would point into the wrong place."""
    own = {part: _pointed(schema) for part, schema in body.get("$defs", {}).items()}
    own[name] = _pointed({key: value for key, value in body.items() if key not in ("$schema", "$id", "$defs")})
    for part, schema in own.items():
        if parts.setdefault(part, schema) != schema:
            raise ValueError(f"two parts of messages are called {part} and differ: rename one of the classes")


def _pointed(value: Any) -> Any:
    match value:
        case {"$ref": str(reference), **rest}:
            return {"$ref": reference.replace("#/$defs/", _SCHEMAS), **{key: _pointed(one) for key, one in rest.items()}}
        case dict():
            return {key: _pointed(one) for key, one in value.items()}
        case list():
            return [_pointed(one) for one in value]
        case _:
            return value


def _channel_id(topic: Topic) -> str:
    return topic.name.replace(".", "_")


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"{topic.about} Key: {topic.key}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in topic.payloads},
        "bindings": {
            "kafka": {
                "bindingVersion": "0.5.0",
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": topic.retention_ms,
                    "max.message.bytes": topic.broker_max_bytes or topic.max_bytes,
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
