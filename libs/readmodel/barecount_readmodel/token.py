"""The consistency token: where a write went, so that a later query can wait for it. Signed, so that nobody probes offsets with it.

Form: base64url(JSON {"g": generation, "p": [[topic, partition, offset], …]}) "." base64url(first 16 bytes of HMAC-SHA256(tenant "." the
former)). It is of one installation, one log generation and one tenant.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from barecount_contracts import Position, catalogue

from .errors import TokenError

MAX_LENGTH: Final = 4096
_MAC_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Token:
    """positions: (topic, partition, offset); an inbox's means the outcome of that command, an events topic's that event.

    generation: the log's, from contracts/topics.yaml.
    """

    positions: tuple[tuple[str, int, int], ...]
    generation: int

    @classmethod
    def of(cls, *positions: Position) -> Self:
        return cls(tuple((p.topic, p.partition, p.offset) for p in positions), catalogue().generation)

    def encode(self, secret: bytes, tenant: str) -> str:
        body = _base64(json.dumps({"g": self.generation, "p": self.positions}, separators=(",", ":")).encode())
        return f"{body}.{_mac(body, secret, tenant)}"

    @classmethod
    def decode(cls, text: str, secret: bytes, tenant: str) -> Self:
        """The token, unchanged to the letter.

        Raises: TokenError `token-malformed`, `token-foreign` (another installation, secret or tenant, an older generation), `token-future`
        (a newer one).
        """
        body, dot, mac = text.partition(".")
        if not dot or len(text) > MAX_LENGTH:
            raise TokenError("token-malformed", "a consistency token has two parts joined by a dot")
        try:
            _unbase64(mac)
            raw = _unbase64(body)
        except (ValueError, binascii.Error) as error:
            raise TokenError("token-malformed", "the token is not base64url") from error
        # the signature before anything inside is believed; its text, because two texts are the same bytes
        if not hmac.compare_digest(mac, _mac(body, secret, tenant)):
            raise TokenError(
                "token-foreign", "the token was not given to this tenant by this installation, or its secret was replaced since"
            )
        try:
            found = json.loads(raw)
            token = cls(tuple((str(t), int(p), int(o)) for t, p, o in found["p"]), int(found["g"]))
        except (ValueError, KeyError, TypeError) as error:
            raise TokenError("token-malformed", "the token's content is not a list of positions") from error
        mine = catalogue().generation
        if token.generation != mine:
            code = "token-future" if token.generation > mine else "token-foreign"
            raise TokenError(code, f"the token is of log generation {token.generation}, this log is of generation {mine}")
        return token


def token_secret(keys_dir: Path) -> bytes:
    """The 32 bytes of `<keys_dir>/token.secret`; made on first use, readable by the owner only."""
    path = keys_dir / "token.secret"
    if not path.exists():
        keys_dir.mkdir(parents=True, exist_ok=True)
        fresh = keys_dir / f".token.secret.{secrets.token_hex(4)}"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            # a link fails when another process was faster: then its secret counts
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    secret = path.read_bytes()
    if len(secret) < 32:
        raise ValueError(f"{path} holds {len(secret)} bytes; a token secret has 32. Remove it to have a new one made")
    return secret


def _mac(body: str, secret: bytes, tenant: str) -> str:
    # no tenant's name has a dot, and no body
    return _base64(hmac.new(secret, f"{tenant}.{body}".encode(), hashlib.sha256).digest()[:_MAC_BYTES])


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    if not text.isascii():
        raise ValueError("not ASCII")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
