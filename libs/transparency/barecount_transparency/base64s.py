"""Standard Base 64 (RFC 4648, section 4) with exactly one spelling a value: a second spelling of a signed thing is a second thing."""

from __future__ import annotations

import base64
import binascii

__all__ = ["decode", "encode"]


def encode(data: bytes) -> str:
    """Padded standard Base 64."""
    return base64.b64encode(data).decode("ascii")


def decode(text: str) -> bytes | None:
    """The bytes, or None for anything that `encode` would not have written (padding, alphabet, set trailing bits)."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return data if encode(data) == text else None
