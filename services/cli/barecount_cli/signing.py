"""A publisher's key on this machine, and what it signs: the form that contracts/barecount_contracts/publishers.py fixes."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from barecount_contracts import Envelope, command_id, publisher_principal
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

from .errors import CliError


@dataclass(frozen=True, slots=True)
class SignedCommand:
    """What goes into the record: its value and its header `jws`."""

    command_id: UUID
    value: bytes
    jws: bytes


def make_key(path: Path) -> Ed25519PrivateKey:
    """The key of the file; when there is none, a new one that only its owner can read. Raises: CliError."""
    if path.exists():
        return read_key(path)
    key = Ed25519PrivateKey.generate()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}", "Name another place by --key.") from error
    return key


def read_key(path: Path) -> Ed25519PrivateKey:
    """Raises: CliError when the file is no private Ed25519 key in PEM."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise CliError(
            f"{path} is not a readable private key", "`barecount publishers register NAME` makes one; name its file by --key."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CliError(f"{path} is not an Ed25519 key", "`barecount publishers register NAME` makes one.")
    return key


def public_of(key: Ed25519PrivateKey) -> str:
    """The raw public key as a publisher is registered with it."""
    return _base64url(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def sign(key: Ed25519PrivateKey, *, tenant: str, publisher: str, asked: dict[str, Any], jti: str, exp: int) -> SignedCommand:
    """asked: {type, version, data}. exp: Unix seconds, at most a day ahead of the broker's clock."""
    principal = publisher_principal(tenant, publisher)
    identity = command_id(tenant, principal, jti)
    command = Envelope(id=identity, tenant=tenant, time=datetime.now(UTC), correlation=identity, principal=principal, **asked)
    value = command.to_bytes()
    header = {"alg": "EdDSA", "kid": f"{tenant}/{publisher}", "jti": jti, "exp": exp}
    protected = _base64url(json.dumps(header, separators=(",", ":")).encode())
    signature = key.sign(f"{protected}.{_base64url(value)}".encode())
    # detached: the payload is the record's own value
    return SignedCommand(identity, value, f"{protected}..{_base64url(signature)}".encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
