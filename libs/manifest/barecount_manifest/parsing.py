"""From text to a manifest, or to every reason why not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from .canonical import canonical_bytes, digest
from .checks import check_manifest
from .errors import ManifestInvalid, NotCanonical, Problem, pointer
from .fields import RESERVED_PIPELINE_NAMES
from .model import API_VERSION, ContractReference, Manifest
from .patch import Change, diff, merge

MAX_BYTES = 262_144
_JUDGED_TOGETHER = {"sources", "sinks", "stages", "quality", "reconciliation"}
_FIXED_BY_BASE = ("apiVersion", "kind", "name")


@dataclass(frozen=True, slots=True)
class Effective:
    """A base manifest with an override applied: what runs in that environment or tenant."""

    document: dict[str, Any]
    manifest: Manifest
    digest: str
    changes: tuple[Change, ...]


def load(text: str) -> dict[str, Any]:
    """A YAML or JSON document as a dict of plain JSON values. Raises ManifestInvalid.

    Stricter than YAML: no duplicate keys, no anchors, no tags, and dates stay text, so that a document has one meaning.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ManifestInvalid([Problem("", f"is larger than {MAX_BYTES} bytes", "split the pipeline, or move SQL into views")])
    try:
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestInvalid([Problem("", f"is not YAML or JSON: {_one_line(error)}", "check the line that is named")]) from error
    if not isinstance(value, dict):
        raise ManifestInvalid([Problem("", "must be a mapping of fields", "begin with apiVersion: barecount.io/v1")])
    return value


def parse(source: str | Mapping[str, Any]) -> Manifest:
    """A manifest from YAML, JSON, or an already loaded dict.

    Raises ManifestInvalid with every problem at once. Problems between parts (a stage that reads what nothing makes) are judged
    when the fields of sources, sinks, stages and rules are right by themselves.
    """
    document = load(source) if isinstance(source, str) else dict(source)
    manifest, problems = _judged(document)
    if manifest is None or problems:
        raise ManifestInvalid(problems)
    return manifest


def validate(document: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Every problem of a loaded document; empty when `parse` would accept it."""
    return _judged(document)[1]


def _judged(document: Mapping[str, Any]) -> tuple[Manifest | None, tuple[Problem, ...]]:
    try:
        canonical_bytes(dict(document))
    except NotCanonical as error:
        return None, (Problem("", str(error), "use plain JSON values"),)
    try:
        manifest = Manifest.model_validate(dict(document))
        return manifest, check_manifest(manifest)
    except ValidationError as error:
        wrong = tuple(_problem(detail) for detail in _causes(error))
        return None, (*wrong, *_between_the_right_parts(document, {problem.path.split("/")[1] for problem in wrong if problem.path}))


def _between_the_right_parts(document: Mapping[str, Any], wrong: set[str]) -> tuple[Problem, ...]:
    """What stages and rules say about each other, when only the fields around them are wrong: people fix it in one go."""
    if not wrong or wrong & _JUDGED_TOGETHER:
        return ()
    sound: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "Pipeline", "name": "sound", "owner": "sound"}
    sound["partitioning"] = {"column": "day", "timezone": "UTC"}
    kept = {key: value for key, value in document.items() if key not in wrong}
    try:
        return check_manifest(Manifest.model_validate({**{key: sound[key] for key in sound if key in wrong}, **kept}))
    except ValidationError:
        return ()


def effective(base: Mapping[str, Any], override: Mapping[str, Any] | None) -> Effective:
    """The base with an override (JSON Merge Patch) applied, validated. Neither is changed.

    Raises ManifestInvalid when the override changes what identifies the pipeline, or when the result is not a manifest.
    """
    patch = dict(override or {})
    fixed = [
        Problem(pointer(key), f"an override cannot change '{key}'", "create another pipeline instead")
        for key in _FIXED_BY_BASE
        if key in patch and patch[key] != base.get(key)
    ]
    document: dict[str, Any] = merge(dict(base), patch)
    manifest, found = _judged(document)
    if manifest is None or fixed or found:
        raise ManifestInvalid([*fixed, *found])
    return Effective(document, manifest, digest(document), tuple(diff(dict(base), document)))


def referenced_contracts(manifest: Manifest) -> tuple[ContractReference, ...]:
    """Every contract version that the sources and sinks name, each once, in order of appearance."""
    named = [source.contract for source in manifest.sources] + [sink.contract for sink in manifest.sinks]
    return tuple(dict.fromkeys(named))


def _causes(error: ValidationError) -> list[Any]:
    """pydantic also calls a list too short whose items are wrong: the items' own errors say it."""
    details = error.errors(include_url=False)
    return [
        detail
        for detail in details
        if detail["type"] != "too_short" or not any(d["loc"][: len(detail["loc"])] == detail["loc"] != d["loc"] for d in details)
    ]


def _problem(detail: Any) -> Problem:
    """pydantic names the chosen stage kind in its path: that part is not in the document."""
    parts: list[str | int] = list(detail["loc"])
    if len(parts) > 2 and parts[0] == "stages" and parts[2] in {"read", "check", "sql", "publish"}:
        del parts[2]
    message = str(detail["msg"]).removeprefix("Value error, ")
    match detail["type"]:
        case "missing":
            return Problem(pointer(*parts), "is missing", "add the field")
        case "extra_forbidden":
            return Problem(pointer(*parts), "is not a field of a manifest here", "check its spelling and where it stands")
        case "string_pattern_mismatch":
            return Problem(pointer(*parts), f"'{detail['input']}' does not match {detail['ctx']['pattern']}", "change the value to match")
        case "value_error" if parts == ["name"]:
            return Problem("/name", message, f"choose another; reserved: {', '.join(sorted(RESERVED_PIPELINE_NAMES))}")
        case _:
            return Problem(pointer(*parts), message, f"given: {json.dumps(detail['input'], default=str)[:200]}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


class _Loader(yaml.SafeLoader):
    """YAML without its surprises."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(f"anchors are not allowed, line {self.peek_event().start_mark.line + 1}")  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                raise yaml.YAMLError(f"a field's name must be text: '{key.value}', line {line}")
            if key.value in seen:
                raise yaml.YAMLError(f"'{key.value}' stands twice, line {line}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 2025-10-04 as a date and `on` as true: text stays text, as in YAML 1.2 and JSON.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool"}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
