"""Lists, page by page: a cursor names the last item that was shown."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from barecount_chassis import Problem
from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=500, description="Items on a page")]
Cursor = Annotated[str | None, Query(max_length=2048, description="`next_cursor` of the page before")]

R = TypeVar("R")


def after(cursor: str | None, kinds: Sequence[type]) -> list[Any] | None:
    """The keys of the last item shown; None for the first page. Raises: Problem `invalid-request`."""
    if cursor is None:
        return None
    try:
        keys = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        keys = None
    if not isinstance(keys, list) or [type(key) for key in keys] != list(kinds):
        raise Problem("invalid-request", "the cursor is not one of this list", errors=[{"in": "query", "pointer": "/cursor"}])
    return keys


def page(rows: Sequence[R], limit: int, item: Callable[[R], dict[str, Any]], key: Callable[[R], Sequence[Any]]) -> dict[str, Any]:
    """`rows` were fetched with limit + 1, so that the end is known."""
    shown = rows[:limit]
    following = base64.urlsafe_b64encode(json.dumps(list(key(shown[-1]))).encode()).decode().rstrip("=") if len(rows) > limit else None
    return {"items": [item(row) for row in shown], "next_cursor": following}
