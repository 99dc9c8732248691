"""Canonical JSON (RFC 8785) at the speed of the standard library's encoder.

Most of what is digested here has a form on which both agree: keys in ASCII, integers that a double holds, fractions that need no exponent.
Such a value is told by a walk and written by `json`'s own encoder in C; every other one is written, or refused, by the reference
implementation.
"""

from __future__ import annotations

import json
from typing import Any, Final

import rfc8785

_DEPTH: Final = 100
_SAFE: Final = 2**53 - 1
# between them Python and ECMAScript write a fraction alike: the shortest digits that read back as the same double
_SMALL, _LARGE = 1e-4, 1e15
_write: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value.

    Raises: what rfc8785.dumps raises (CanonicalizationError, UnicodeEncodeError, RecursionError) for what has none.
    """
    if _plain(value, _DEPTH):
        try:
            return _write(value).encode()
        except UnicodeEncodeError:
            pass
    return rfc8785.dumps(value)


def _plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is dict:
        try:
            # sorted by code points and by UTF-16 units alike
            if not "".join(value).isascii():
                return False
        except TypeError:
            return False
        items = value.values()
    elif kind is list or kind is tuple:
        items = value
    elif kind is int:
        return bool(-_SAFE <= value <= _SAFE)
    elif kind is float:
        return _SMALL <= abs(value) < _LARGE and not value.is_integer()
    else:
        return kind is str or value is None or kind is bool
    # most items are texts: they need no call
    return bool(depth) and all(type(item) is str or _plain(item, depth - 1) for item in items)
