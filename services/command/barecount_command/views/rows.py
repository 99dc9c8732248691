"""How values of the log become values of PostgreSQL."""

from __future__ import annotations

import json
from typing import Any


def as_json(value: Any) -> str:
    """JSON text that a jsonb column takes. U+0000, which PostgreSQL cannot hold, is shown as U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return json.dumps(_shown(value), ensure_ascii=False, separators=(",", ":")) if "\\u0000" in text else text


def as_text(value: str) -> str:
    """Text that a text column takes."""
    return value.replace("\x00", "\ufffd")


def from_json(value: Any) -> Any:
    """A json or jsonb column as asyncpg gives it."""
    return json.loads(value) if isinstance(value, str) else value


def without_bodies(data: dict[str, Any]) -> dict[str, Any]:
    """An event's data without the documents, which stand by their digests elsewhere."""
    return {key: value for key, value in data.items() if key not in {"manifest", "document", "schemas", "schema_text"}}


def _shown(value: Any) -> Any:
    match value:
        case str():
            return as_text(value)
        case dict():
            return {as_text(key): _shown(one) for key, one in value.items()}
        case list():
            return [_shown(one) for one in value]
        case _:
            return value
