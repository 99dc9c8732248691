"""Lets in what a registered publisher has signed: a detached JWS (RFC 7515, appendix F; RFC 8037) over exactly a record's bytes.

What is checked first is cheap and says nothing about a tenant; only after the signature has verified may a refusal name the command.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from barecount_contracts import (
    LONGEST_VALIDITY,
    SIGNATURE_HEADER,
    Heading,
    command_id,
    command_rule,
    permissions,
    publisher_principal,
)
from barecount_eventlog import Asking, Refusal
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .publishers import unpadded
from .state import Publisher, State

LONGEST_SIGNATURE: Final = 4096  # bytes of the header: a jti of 255 characters fits in any script
LONGEST_JTI: Final = 255
ISSUER: Final = "publisher"


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signature says, before it is verified. exp: Unix seconds."""

    kid: str
    jti: str
    exp: int
    protected: bytes
    signature: bytes


def admit_signed(command: Heading, asking: Asking[State]) -> Refusal | None:
    """None lets the command in. `proven` in a refusal: the publisher did sign this, and the event may name its command."""
    if command.assertion is not None:
        return Refusal("bad-signature", "the record carries a service's assertion and a publisher's signature: sign it in one way")
    signed = read_signature(asking.record.headers[SIGNATURE_HEADER])
    if isinstance(signed, str):
        return Refusal("bad-signature", f"the header `{SIGNATURE_HEADER}` {signed}")
    tenant, _, name = signed.kid.rpartition("/")
    publisher = asking.state.of(command.tenant).publishers.get(name) if tenant == command.tenant else None
    if publisher is None or publisher.revoked:
        return Refusal("unknown-publisher", f"no publisher of the command's tenant holds the key {signed.kid[:200]!r}")
    if not _verifies(publisher, signed, asking.record.value):
        return Refusal("bad-signature", f"the signature is not that of {signed.kid[:200]!r} over these bytes")
    principal = publisher_principal(tenant, name)
    expected = command_id(tenant, principal, signed.jti)
    if command.principal != principal or command.id != expected or command.correlation != expected:
        return Refusal("id-mismatch", f"the principal must be {principal!r}, and id and correlation {expected}")
    if command.source is not None or command.cause is not None:
        return Refusal("forbidden", "only a service derives a command from another log: leave `source` and `cause` out")
    return _allowed(command, publisher) or _in_time(signed, asking.now) or _first_time(signed, asking)


def _allowed(command: Heading, publisher: Publisher) -> Refusal | None:
    rule = command_rule(command.type)
    if rule is None:
        return Refusal("unknown-type", "contracts/permissions.yaml has no command of this type")
    if ISSUER not in rule.issuers:
        return Refusal("forbidden", f"{command.type} is not taken from publishers: send it over HTTP", proven=True)
    if not any(permissions().allowed(role, rule.action) for role in publisher.roles):
        detail = f"{command.type} needs {rule.action}; the publisher's roles {list(publisher.roles)} do not have it"
        return Refusal("forbidden", detail, proven=True)
    return None


def _in_time(signed: Signed, now: datetime) -> Refusal | None:
    # whole numbers: an `exp` of any size compares, and none overflows
    left = signed.exp * 1000 - int(now.timestamp() * 1000)
    if left <= 0:
        return Refusal("expired-command", f"`exp` lies before {now:%Y-%m-%dT%H:%M:%SZ}, the broker's time of the record", proven=True)
    if left > LONGEST_VALIDITY.total_seconds() * 1000:
        return Refusal("expiry-too-far", f"`exp` lies more than a day after {now:%Y-%m-%dT%H:%M:%SZ}", proven=True)
    return None


def _first_time(signed: Signed, asking: Asking[State]) -> Refusal | None:
    first = asking.first
    if first is None:
        return None
    where = f"{first.topic}/{first.partition}/{first.offset}"
    return Refusal("jti-reused", f"jti {signed.jti!r} was published before; its outcome answers {where}", proven=True)


def read_signature(header: bytes) -> Signed | str:
    """The parts of a detached JWS in compact form, or what is wrong with it. Nothing in it is believed yet."""
    if len(header) > LONGEST_SIGNATURE:
        return f"has {len(header)} bytes; at most {LONGEST_SIGNATURE} are read"
    parts = header.split(b".")
    if len(parts) != 3 or parts[1]:
        return "is not a detached JWS: <protected>..<signature>"
    protected, signature = (unpadded(part.decode("latin-1")) for part in (parts[0], parts[2]))
    if protected is None or signature is None or len(signature) != 64:
        return "is not base64url without padding, with a signature of 64 bytes"
    try:
        told = json.loads(protected.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return "has a protected header that is not one JSON object with each name once"
    if not isinstance(told, dict):
        return "has a protected header that is not a JSON object"
    return _read(told, parts[0], signature)


def _read(told: dict[str, Any], protected: bytes, signature: bytes) -> Signed | str:
    if told.get("alg") != "EdDSA":
        return "must have alg EdDSA: no other algorithm is taken"
    if "crit" in told or told.get("b64", True) is not True:
        return "names extensions (crit, b64): none is understood here"
    kid, jti, exp = told.get("kid"), told.get("jti"), told.get("exp")
    if not isinstance(kid, str) or not _is_utf8(kid):
        return "has no kid <tenant>/<publisher>"
    if not isinstance(jti, str) or not 1 <= len(jti) <= LONGEST_JTI or not _is_utf8(jti):
        return f"has no jti of 1 to {LONGEST_JTI} characters"
    if not isinstance(exp, int) or isinstance(exp, bool):
        return "has no exp in whole Unix seconds"
    return Signed(kid, jti, exp, protected, signature)


def _is_utf8(text: str) -> bool:
    """JSON's escapes can spell halves of characters, which no log can carry."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _verifies(publisher: Publisher, signed: Signed, value: bytes) -> bool:
    key = unpadded(publisher.public_key)
    assert key is not None, "a key is registered only when it can be read"
    payload = base64.urlsafe_b64encode(value).rstrip(b"=")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signed.signature, signed.protected + b"." + payload)
    except InvalidSignature:
        return False
    return True
