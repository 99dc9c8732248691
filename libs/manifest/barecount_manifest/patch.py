"""Merge (RFC 7396), the patch between two documents, and the differences that people read."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import json_merge_patch

from .errors import pointer


class _Absent:
    """Stands in a `Change` for a side that has no value at that path (not the same as null)."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: JSON Pointer, value before, value after; a side without a value is ABSENT.

    Members of lists whose items all have a `name` are matched by it, and the path holds the name: /stages/aggregate/sql.
    """

    path: str
    before: Any
    after: Any

    def as_dict(self) -> dict[str, Any]:
        """{"path", "before"?, "after"?}: an absent side is an absent key."""
        sides = {"before": self.before, "after": self.after}
        return {"path": self.path, **{side: value for side, value in sides.items() if value is not ABSENT}}


def merge(base: Any, patch: Any) -> Any:
    """`base` changed by the JSON Merge Patch `patch` (RFC 7396). Neither argument is touched, nothing is shared with them."""
    return json_merge_patch.merge(copy.deepcopy(base), copy.deepcopy(patch))


def diff(before: Any, after: Any) -> list[Change]:
    """All differences, in document order of `before`, then what is new. Empty exactly when both are the same JSON value."""
    changes: list[Change] = []
    _walk((), before, after, changes)
    return changes


def same(before: Any, after: Any) -> bool:
    """Whether both are the same JSON value; Python's own == takes true for 1."""
    return not diff(before, after)


def _walk(path: tuple[str | int, ...], before: Any, after: Any, changes: list[Change]) -> None:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        _members(path, before, after, changes)
    elif isinstance(before, list) and isinstance(after, list):
        _items(path, before, after, changes)
    elif isinstance(before, bool) != isinstance(after, bool) or before != after:
        changes.append(Change(pointer(*path), before, after))


def _members(path: tuple[str | int, ...], before: Mapping[str, Any], after: Mapping[str, Any], changes: list[Change]) -> None:
    for key in [*before, *(key for key in after if key not in before)]:
        if key not in after:
            changes.append(Change(pointer(*path, key), before[key], ABSENT))
        elif key not in before:
            changes.append(Change(pointer(*path, key), ABSENT, after[key]))
        else:
            _walk((*path, key), before[key], after[key], changes)


def _items(path: tuple[str | int, ...], before: list[Any], after: list[Any], changes: list[Change]) -> None:
    old, new = _by_name(before), _by_name(after)
    if old is None or new is None:
        indexed = [dict(enumerate(side)) for side in (before, after)]
        return _members(path, indexed[0], indexed[1], changes)  # type: ignore[arg-type]
    _members(path, old, new, changes)
    kept = [name for name in old if name in new]
    if kept != [name for name in new if name in old]:
        changes.append(Change(pointer(*path), list(old), list(new)))
    return None


def _by_name(items: list[Any]) -> dict[str, Any] | None:
    """Items keyed by `name`, or None when they are not all named, each once."""
    names = [item.get("name") if isinstance(item, Mapping) else None for item in items]
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        return None
    return dict(zip(names, items, strict=True))  # type: ignore[arg-type]
