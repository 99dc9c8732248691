"""Canonical JSON (RFC 8785) at the speed of an encoder that does not know it.

Most of what is digested here has a form on which they agree: keys in ASCII, integers that a double holds, fractions that need no exponent.
Such a value is told by a walk and written by `json`'s own encoder in C, or, when it is known to be JSON, written by orjson and told by a
look at what that wrote; every other one is written, or refused, by the reference implementation.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson
import rfc8785

_DEPTH: Final = 100
_SAFE: Final = 2**53 - 1
# between them Python and ECMAScript write a fraction alike: the shortest digits that read back as the same double
_SMALL, _LARGE = 1e-4, 1e15
_write: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False).encode

# what is or may be written otherwise: numbers with an exponent, very small, very long, or whole; a null, which may have been an infinity
_UNSURE: Final = re.compile(rb"null|-?(?:0\.0000|[0-9]{16}|[0-9]+(?:e|\.[0-9]*(?:e|0[,\]}])))")
# where such a one may begin: behind a mark. What looks so in a text only costs time
_MARKS: Final = bytes.maketrans(b"[,-0123456789", b"::00000000000")
_BEGINNINGS: Final = (b":0", b":n")
# keys with such characters are sorted otherwise by UTF-16 units than by bytes
_ASTRAL: Final = re.compile(rb"[\xf0-\xff]")
_OPENS: Final = b'{["'
# what orjson would write though JSON does not have it
_NO_MORE: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
_SORTED: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER | _NO_MORE


def canonical_of_json(value: Any) -> bytes:
    """The same for what a JSON reader or pydantic's JSON mode gave: dict (text keys), list, str, int, float, bool and None, nothing else.

    Raises: what canonical_json raises.
    """
    try:
        written = orjson.dumps(value, option=_SORTED)
    except orjson.JSONEncodeError:
        return canonical_json(value)
    sure = written[0] in _OPENS and (written.isascii() or _ASTRAL.search(written) is None) and _is_sure(written)
    return written if sure else canonical_json(value)


def _is_sure(written: bytes) -> bool:
    # looking at every byte with an expression takes 48 µs for a manifest of 3 KB, this 19
    told = written.translate(_MARKS)
    for beginning in _BEGINNINGS:
        at = told.find(beginning)
        while at >= 0:
            if _UNSURE.match(written, at + 1):
                return False
            at = told.find(beginning, at + 1)
    return True


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
