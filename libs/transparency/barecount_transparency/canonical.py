"""Canonical JSON (RFC 8785, JCS) and the strict reader that belongs to it.

What `loads` takes, `canonical` can write, and `loads(canonical(x))` gives the same canonical bytes again. Refused both ways:
NaN and infinities, integers that a double cannot hold (carry them as strings), lone surrogates, more than `MAX_DEPTH` levels;
by the reader also duplicate keys, a byte order mark and anything that is not UTF-8.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

import rfc8785
from barecount_contracts import canonical_json

from .errors import JsonError

__all__ = ["MAX_DEPTH", "canonical", "digest", "digest_bytes", "loads", "parse_digest"]

MAX_DEPTH = 200
"""Levels of nesting. Fixed, so that acceptance never depends on how deep the caller's stack is."""

MAX_SAFE_INTEGER = 2**53 - 1
_LONGEST_INTEGER = 22  # sign and 21 digits: JCS writes larger numbers with an exponent


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a value of dict (string keys), list, tuple, str, int, float, bool and None. Raises `JsonError`."""
    try:
        written = canonical_json(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as cause:
        _refuse(value, cause)
    # brackets inside strings only make this an over-estimate: the exact walk is paid by the rare deep value alone
    if written.count(b"{") + written.count(b"[") > MAX_DEPTH:
        _check_depth(value)
    return written


def digest(value: Any) -> str:
    """`sha256:<64 hex>` over the canonical bytes. Raises `JsonError`."""
    return digest_bytes(canonical(value))


def digest_bytes(data: bytes) -> str:
    """`sha256:<64 hex>` over the bytes as they are."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def parse_digest(text: str) -> bytes:
    """The 32 bytes of a `sha256:<64 lower-case hex>`. Raises `JsonError`."""
    algorithm, _, hexadecimal = text.partition(":")
    if algorithm != "sha256" or len(hexadecimal) != 64 or not set(hexadecimal) <= set("0123456789abcdef"):
        raise JsonError(f"{text[:80]!r} is not a digest: write sha256: and 64 lower-case hex digits")
    return bytes.fromhex(hexadecimal)


def loads(data: bytes | str) -> Any:
    """One JSON text (RFC 8259, UTF-8), read strictly. Raises `JsonError`.

    An integer beyond 2^53-1 comes back as a float if it is that double's canonical form (1e20 is written so), else it is refused:
    readers in other languages would round it silently.
    """
    if isinstance(data, str):
        text = data
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as cause:
            raise JsonError(f"not UTF-8 at byte {cause.start}: send UTF-8") from cause
    if text.startswith("\ufeff"):
        raise JsonError("starts with a byte order mark: send UTF-8 without one")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer)
    except json.JSONDecodeError as cause:
        raise JsonError(f"not JSON: {cause.msg} at line {cause.lineno} column {cause.colno}") from cause
    except RecursionError as cause:
        raise JsonError(f"nested deeper than {MAX_DEPTH} levels: flatten it") from cause
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _check_depth(value)
    # a lone surrogate can stand in the text itself or come from an escape; only a text with neither is surely free of them
    if "\\u" in text or not _encodes(text):
        for pointer, item in _walk(value):
            if isinstance(item, str) and not _encodes(item):
                raise JsonError("holds a lone surrogate: send well-formed Unicode", pointer)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonError(f"the key {key[:80]!r} stands twice in one object: keep one")
            seen.add(key)
    return members


def _constant(name: str) -> NoReturn:
    raise JsonError(f"{name} is not JSON: send null or leave the member out")


def _float(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise JsonError(f"the number {literal[:40]} is larger than a double: send it as a string")
    return value


def _integer(literal: str) -> int | float:
    if len(literal) <= _LONGEST_INTEGER:
        value = int(literal)
        if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            return value
        if rfc8785.dumps(float(value)) == literal.encode("ascii"):
            return float(value)
    raise JsonError(f"the integer {literal[:40]} is not exact as a double: send it as a string")


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every value and every key with its JSON pointer, without recursion; refuses what is nested too deep, cycles included."""
    stack: list[tuple[str, int, Any]] = [("", 0, value)]
    while stack:
        pointer, depth, item = stack.pop()
        yield pointer, item
        if not isinstance(item, dict | list | tuple):
            continue
        if depth >= MAX_DEPTH:
            raise JsonError(f"nested deeper than {MAX_DEPTH} levels: flatten it", pointer[:80])
        if isinstance(item, dict):
            for key, member in item.items():
                # a key's own problem is reported at the object that holds it: its pointer could not be printed
                yield pointer, key if isinstance(key, str) else _NotAString(key)
                name = str(key).encode("utf-8", "replace").decode().replace("~", "~0").replace("/", "~1")
                stack.append((f"{pointer}/{name}", depth + 1, member))
        else:
            stack.extend((f"{pointer}/{at}", depth + 1, member) for at, member in enumerate(item))


class _NotAString:
    def __init__(self, key: object) -> None:
        self.key = key


def _check_depth(value: Any) -> None:
    for _ in _walk(value):
        pass


def _refuse(value: Any, cause: Exception) -> NoReturn:
    """Find the place that has no canonical form and name it."""
    for pointer, item in _walk(value):
        match item:
            case _NotAString():
                raise JsonError(f"the key {item.key!r} is not a string: JSON has only string keys", pointer) from cause
            case str() if not _encodes(item):
                raise JsonError("holds a lone surrogate: send well-formed Unicode", pointer) from cause
            case float() if not math.isfinite(item):
                raise JsonError(f"{item} is not JSON: use null or leave the member out", pointer) from cause
            case int() if not -MAX_SAFE_INTEGER <= item <= MAX_SAFE_INTEGER:
                raise JsonError("an integer beyond 2^53-1 is not exact as a double: carry it as a string", pointer) from cause
            case None | str() | int() | float() | dict() | list() | tuple():
                continue
            case _:
                raise JsonError(f"{type(item).__name__} has no JSON form: convert it first", pointer) from cause
    raise JsonError(f"no canonical form: {cause}") from cause
