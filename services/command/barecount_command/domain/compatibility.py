"""BACKWARD compatibility of JSON Schemas: whoever reads with the new schema can read what was written under the old one.

The rules are the Confluent Schema Registry's (ObjectSchemaDiff, SchemaDiff; policy STRICT), where they judge structure: properties,
required, closed models, types, enums, limits, items, unions. Annotations (title, description, default, examples) never matter.
What is not understood must stay as it was. `$ref` is followed within a document; a recursive reference is judged once; two schemas
that take more than `STEPS` comparisons are refused, so that nobody's union of unions stops a partition.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any] | bool

STEPS = 20_000

_ANNOTATIONS = frozenset(
    {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"}
    | {"deprecated", "readOnly", "writeOnly"}
)
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UNIONS = ("oneOf", "anyOf")
_STRUCTURE = frozenset(
    {"$ref", "type", "enum", "const", "properties", "required", "additionalProperties", "items", "allOf", *_UPPER, *_LOWER, *_UNIONS}
)


def backward(old: Schema, new: Schema) -> tuple[str, ...]:
    """Every reason why the new schema cannot read what the old one let through; empty when it can."""
    try:
        return tuple(dict.fromkeys(_Judge(old, new).judge(old, new, "#")))
    except _TooMuch:
        return (f"#: the schemas take more than {STEPS} comparisons; simplify their unions",)


class _TooMuch(Exception):
    """The steps are used up."""


@dataclass
class _Judge:
    old_root: Schema
    new_root: Schema
    under_way: set[tuple[str, str]] = field(default_factory=set)
    steps: list[int] = field(default_factory=lambda: [STEPS])

    def judge(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        self.steps[0] -= 1
        if self.steps[0] < 0:
            raise _TooMuch
        pair = (_text(old), _text(new))
        if pair[0] == pair[1] and _text(self.old_root) == _text(self.new_root):
            return
        if pair in self.under_way:
            return
        self.under_way.add(pair)
        old, new = _resolve(old, self.old_root), _resolve(new, self.new_root)
        # `true` and `{}` take everything, `false` nothing
        if new is True or (isinstance(new, Mapping) and not _bare(new)) or old is False:
            return
        if new is False or isinstance(old, bool):
            yield f"{at}: narrows what was free"
            return
        assert isinstance(new, Mapping)
        if old.get("$ref") != new.get("$ref"):
            yield f"{at}/$ref: a reference to another document was changed"
            return
        if any(union in old or union in new for union in _UNIONS):
            yield from self._unions(old, new, at)
            return
        yield from _types(old, new, at)
        yield from _values(old, new, at)
        yield from _limits(old, new, at)
        yield from self._objects(old, new, at)
        yield from self._items(old, new, at)
        yield from self._all_of(old, new, at)
        for key in sorted((old.keys() | new.keys()) - _ANNOTATIONS - _STRUCTURE):
            if key in new and old.get(key) != new[key] and not key.startswith("x-"):
                yield f"{at}/{key}: was {'changed' if key in old else 'added'}"

    def _objects(self, old: Mapping[str, Any], new: Mapping[str, Any], at: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        required_before, required_after = set(old.get("required", ())), set(new.get("required", ()))
        rest_before, rest_after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        for name in sorted(before.keys() & after.keys()):
            yield from self.judge(before[name], after[name], f"{at}/properties/{name}")
        for name in sorted(required_after - required_before):
            has_default = isinstance(after.get(name), Mapping) and "default" in after[name]
            if not has_default:
                yield f"{at}/required: {name} is required now and was not"
        for name in sorted(after.keys() - before.keys()):
            # the old model let any value stand under this name, unless it was closed
            if rest_before is not False and list(self.judge(rest_before, after[name], at)):
                yield f"{at}/properties/{name}: was added to an open model, where anything could stand under that name"
        for name in sorted(before.keys() - after.keys()):
            if list(self.judge(before[name], rest_after, at)):
                yield f"{at}/properties/{name}: was removed from a model that takes no other properties"
        if rest_before is not False and ("properties" in old or "properties" in new or rest_before != rest_after):
            yield from (f"{at}/additionalProperties: was open and is not" for _ in self.judge(rest_before, rest_after, at))

    def _items(self, old: Mapping[str, Any], new: Mapping[str, Any], at: str) -> Iterator[str]:
        if "items" not in new:
            return
        before, after = old.get("items", True), new["items"]
        if isinstance(before, list) or isinstance(after, list):
            if before != after:
                yield f"{at}/items: a tuple was changed"
            return
        yield from self.judge(before, after, f"{at}/items")

    def _all_of(self, old: Mapping[str, Any], new: Mapping[str, Any], at: str) -> Iterator[str]:
        for index, part in enumerate(new.get("allOf", ())):
            known = any(not list(self._fresh(one, part)) for one in (old, *old.get("allOf", ())))
            if not known:
                yield f"{at}/allOf/{index}: demands what was not demanded"

    def _unions(self, old: Mapping[str, Any], new: Mapping[str, Any], at: str) -> Iterator[str]:
        """Every branch of the old union must be readable by a branch of the new one."""
        for index, branch in enumerate(_branches(old)):
            if not any(not list(self._fresh(branch, other)) for other in _branches(new)):
                yield f"{at}: branch {index} of what was written fits no branch any more"

    def _fresh(self, old: Schema, new: Schema) -> Iterator[str]:
        return _Judge(self.old_root, self.new_root, set(self.under_way), self.steps).judge(old, new, "#")


def _types(old: Mapping[str, Any], new: Mapping[str, Any], at: str) -> Iterator[str]:
    after = _as_set(new.get("type"))
    if after is None:
        return
    before = _as_set(old.get("type"))
    if before is None:
        yield f"{at}/type: was free and is {_listed(after)}"
    elif lost := {kind for kind in before if kind not in after and not (kind == "integer" and "number" in after)}:
        yield f"{at}/type: no longer takes {_listed(lost)}"


def _values(old: Mapping[str, Any], new: Mapping[str, Any], at: str) -> Iterator[str]:
    after = _allowed(new)
    if after is None:
        return
    before = _allowed(old)
    if before is None:
        yield f"{at}: takes only listed values now"
    elif lost := before - after:
        yield f"{at}: no longer takes {_listed(lost)}"


def _limits(old: Mapping[str, Any], new: Mapping[str, Any], at: str) -> Iterator[str]:
    for name in (*_UPPER, *_LOWER):
        if name in new and name not in old:
            yield f"{at}/{name}: was added, {new[name]}"
        elif name in new and (new[name] < old[name] if name in _UPPER else new[name] > old[name]):
            yield f"{at}/{name}: was tightened to {new[name]}"


def _resolve(schema: Schema, root: Schema) -> Schema:
    for _ in range(32):
        if not isinstance(schema, Mapping) or not str(schema.get("$ref", "")).startswith("#"):
            return schema
        found: Any = root
        for part in str(schema["$ref"])[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping | bool):
            return schema
        schema = found
    return schema


def _branches(schema: Mapping[str, Any]) -> list[Schema]:
    for union in _UNIONS:
        if union in schema:
            rest = {key: value for key, value in schema.items() if key not in _UNIONS}
            return [{**rest, **branch} if isinstance(branch, Mapping) else branch for branch in schema[union]]
    return [schema]


def _bare(schema: Mapping[str, Any]) -> set[str]:
    return {key for key in schema.keys() - _ANNOTATIONS if not key.startswith("x-")}


def _as_set(kind: Any) -> set[str] | None:
    return None if kind is None else set(kind) if isinstance(kind, list) else {kind}


def _allowed(schema: Mapping[str, Any]) -> set[str] | None:
    if "const" in schema:
        return {_text(schema["const"])}
    return {_text(value) for value in schema["enum"]} if "enum" in schema else None


def _listed(values: set[str]) -> str:
    return ", ".join(sorted(values))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
