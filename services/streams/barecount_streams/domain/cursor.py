"""The position of a stream's reader, as the client carries it: opaque, encrypted, good for its tenant only.

Plain it is the log generation, the partition and the next offset, in 13 bytes, so that every cursor is equally long. It is sealed with
AES-SIV (RFC 5297): offsets count the changes of all tenants of a partition, and nobody shall count what others do. A random nonce makes
two cursors of one position differ.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PREFIX: Final = "v1."
_PLAIN: Final = struct.Struct(">IBQ")
_NONCE_BYTES: Final = 8
_LONGEST: Final = 200


class Place(NamedTuple):
    """Before the record at `next`, which is the first that the client has not had. generation: of topics.yaml."""

    generation: int
    partition: int
    next: int


class BadCursor(ValueError):
    """Not made here, not for this tenant, or changed on its way."""


class Cursors:
    """Seals and opens cursors. secret: of the installation, at least 16 bytes; the key is derived from it for this use alone."""

    def __init__(self, secret: bytes, *, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._cipher = AESSIV(HKDF(SHA256(), 64, salt=None, info=b"barecount/stream-cursor/v1").derive(secret))
        self._random = random

    def seal(self, tenant: str, place: Place) -> str:
        nonce = self._random(_NONCE_BYTES)
        sealed = self._cipher.encrypt(_PLAIN.pack(*place), [tenant.encode(), nonce])
        return PREFIX + base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def open(self, tenant: str, text: str) -> Place:
        """Raises: BadCursor."""
        if not text.startswith(PREFIX) or len(text) > _LONGEST:
            raise BadCursor("the position is not one that a stream gives out")
        body = text.removeprefix(PREFIX)
        try:
            raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            plain = self._cipher.decrypt(raw[_NONCE_BYTES:], [tenant.encode(), raw[:_NONCE_BYTES]])
            return Place(*_PLAIN.unpack(plain))
        except (binascii.Error, ValueError, InvalidTag, struct.error) as error:
            raise BadCursor("the position was changed on its way, or is another tenant's") from error
