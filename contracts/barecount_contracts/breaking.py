"""What a change of a published document breaks for those who rely on it: pure comparisons of an old and a new document.

What may grow: paths, methods, optional parameters and request members, members of answers, values that a request takes. What breaks
a client: something it called is gone, something it did not send is demanded, something it read is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
DEEPEST = 12


def breaking_routes(old: Document, new: Document) -> list[str]:
    """Each line names what an OpenAPI document's change breaks; none: every client of the old one can go on."""
    found: list[str] = []
    for path, item in old.get("paths", {}).items():
        for method in METHODS:
            if method not in item:
                continue
            at = f"{method.upper()} {path}"
            after = new.get("paths", {}).get(path, {}).get(method)
            if after is None:
                found.append(f"{at}: the operation is gone")
                continue
            found += [f"{at}: {line}" for line in _operation(old, new, item[method], after)]
    return found


def breaking_topics(old: Document, new: Document) -> list[str]:
    """The same for an AsyncAPI document. What a payload says is held by contracts/schemas, which never change."""
    found: list[str] = []
    for name, channel in old.get("channels", {}).items():
        after = new.get("channels", {}).get(name)
        if after is None:
            found.append(f"{name}: the topic is gone")
            continue
        if after.get("address") != channel.get("address"):
            found.append(f"{name}: its address was {channel.get('address')} and is {after.get('address')}")
        found += [f"{name}: the message {gone} is gone" for gone in channel.get("messages", {}) if gone not in after.get("messages", {})]
        was, now = (_kafka(one).get("partitions") for one in (channel, after))
        if was != now:
            found.append(f"{name}: partitions were {was} and are {now}: keys stand elsewhere then; that is a new log generation")
    found += [f"{name}: the operation is gone" for name in old.get("operations", {}) if name not in new.get("operations", {})]
    return found


def _kafka(channel: Document) -> Document:
    found: Document = channel.get("bindings", {}).get("kafka", {})
    return found


def _operation(old: Document, new: Document, was: Document, now: Document) -> Iterator[str]:
    before, after = (_parameters(root, one) for root, one in ((old, was), (new, now)))
    for key, parameter in before.items():
        if key not in after:
            yield f"the {key[0]} parameter {key[1]} is gone"
            continue
        if after[key].get("required") and not parameter.get("required"):
            yield f"the {key[0]} parameter {key[1]} is required now"
        yield from _asked(old, new, parameter.get("schema", {}), after[key].get("schema", {}), f"the {key[0]} parameter {key[1]}", 0)
    for key in after.keys() - before.keys():
        if after[key].get("required"):
            yield f"the {key[0]} parameter {key[1]} is new and required"
    yield from _request(old, new, was.get("requestBody"), now.get("requestBody"))
    for status, answer in was.get("responses", {}).items():
        if not status.startswith(("2", "3")):
            continue
        follower = now.get("responses", {}).get(status)
        if follower is None:
            yield f"the answer {status} is gone"
            continue
        for kind, content in answer.get("content", {}).items():
            if kind not in follower.get("content", {}):
                yield f"the answer {status} is no longer given as {kind}"
                continue
            place = f"the answer {status}"
            yield from _told(old, new, content.get("schema", {}), follower["content"][kind].get("schema", {}), place, 0)
        for header in answer.get("headers", {}).keys() - follower.get("headers", {}).keys():
            yield f"the answer {status} no longer has the header {header}"


def _request(old: Document, new: Document, was: Document | None, now: Document | None) -> Iterator[str]:
    if was is None:
        if now is not None and now.get("required"):
            yield "a request body is required now"
        return
    if now is None:
        yield "the request body is gone"
        return
    if now.get("required") and not was.get("required"):
        yield "the request body is required now"
    for kind, content in was.get("content", {}).items():
        if kind not in now.get("content", {}):
            yield f"a request body is no longer taken as {kind}"
        else:
            yield from _asked(old, new, content.get("schema", {}), now["content"][kind].get("schema", {}), "the request body", 0)


def _asked(old: Document, new: Document, was: Document, now: Document, place: str, depth: int) -> Iterator[str]:
    """What a client may send: nothing more may be demanded, nothing that was taken refused."""
    was, now = _resolved(old, was), _resolved(new, now)
    if depth > DEEPEST:
        return
    for name in _required(now) - _required(was):
        yield f"{place} demands {name} now"
    refused = _values(was) - _values(now) if _values(now) else set()
    if _values(now) and not _values(was):
        yield f"{place} takes only {', '.join(sorted(_values(now)))} now"
    for value in sorted(refused):
        yield f"{place} no longer takes {value}"
    yield from _types(was, now, place)
    before, after = was.get("properties", {}), now.get("properties", {})
    for name, schema in before.items():
        if name in after:
            yield from _asked(old, new, schema, after[name], f"{place} {name}", depth + 1)
        else:
            yield f"{place} no longer has {name}"
    if "items" in was and "items" in now:
        yield from _asked(old, new, was["items"], now["items"], f"{place} (each)", depth + 1)


def _told(old: Document, new: Document, was: Document, now: Document, place: str, depth: int) -> Iterator[str]:
    """What a client may read: everything that was promised is still there."""
    was, now = _resolved(old, was), _resolved(new, now)
    if depth > DEEPEST:
        return
    before, after = was.get("properties", {}), now.get("properties", {})
    for name, schema in before.items():
        if name not in after:
            yield f"{place} no longer has {name}"
            continue
        if name in _required(was) and name not in _required(now):
            yield f"{place} does not promise {name} any more"
        yield from _told(old, new, schema, after[name], f"{place} {name}", depth + 1)
    yield from (f"{place} may be {kind} now" for kind in sorted(_kinds(now) - _kinds(was)) if _kinds(was))
    if "items" in was and "items" in now:
        yield from _told(old, new, was["items"], now["items"], f"{place} (each)", depth + 1)


def _types(was: Document, now: Document, place: str) -> Iterator[str]:
    if _kinds(now):
        lost = _kinds(was) - _kinds(now) - ({"integer"} if "number" in _kinds(now) else set())
        yield from (f"{place} may no longer be {kind}" for kind in sorted(lost))


def _parameters(root: Document, operation: Document) -> dict[tuple[str, str], Document]:
    listed = [_followed(root, one) for one in operation.get("parameters", ())]
    # header names are the same in any case
    return {(one["in"], one["name"].lower() if one["in"] == "header" else one["name"]): one for one in listed}


def _resolved(root: Document, schema: Document) -> Document:
    """Follows `$ref`, and lays the parts of allOf and of `X or null` over each other."""
    schema = _followed(root, schema)
    parts = [_resolved(root, one) for one in schema.get("allOf", ())]
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(choices) == 1:
        parts.append(_resolved(root, choices[0]))
    merged: dict[str, Any] = {}
    for one in (*parts, schema):
        for key, value in one.items():
            if key == "properties":
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required":
                merged[key] = [*merged.get(key, []), *value]
            elif key not in ("allOf", "anyOf") or (key == "anyOf" and len(choices) > 1):
                merged[key] = value
    if len(choices) == 1 and len(schema.get("anyOf", ())) > 1 and isinstance(merged.get("type"), str):
        merged["type"] = [merged["type"], "null"]
    return merged


def _followed(root: Document, schema: Document) -> Document:
    for _ in range(DEEPEST):
        reference = schema.get("$ref")
        if reference is None:
            break
        found: Any = root
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _required(schema: Document) -> set[str]:
    return set(schema.get("required", ()))


def _values(schema: Document) -> set[str]:
    if "const" in schema:
        return {str(schema["const"])}
    return {str(value) for value in schema.get("enum", ())}


def _kinds(schema: Document) -> set[str]:
    if "anyOf" in schema:
        return {str(one.get("type", one.get("$ref", "anything"))) for one in schema["anyOf"]}
    kind = schema.get("type")
    return {kind} if isinstance(kind, str) else set(kind or ())
