"""Canonical JSON (RFC 8785) and the digest of a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785
from barecount_contracts import canonical_of_json

from .errors import NotCanonical


def canonical_bytes(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value, as a reader of JSON or of plain YAML gives it.

    Raises NotCanonical for what has none: NaN, infinity, integers beyond 2^53-1, lone surrogates, non-JSON types.
    """
    try:
        return canonical_of_json(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise NotCanonical(f"has no canonical JSON form: {error}; carry large or special numbers as strings") from error


def digest(manifest: Mapping[str, Any]) -> str:
    """`sha256:<hex>` over the RFC 8785 form of a manifest's document, as given (not filled with defaults)."""
    return "sha256:" + hashlib.sha256(canonical_bytes(dict(manifest))).hexdigest()
