"""Standard Webhooks (v1, HMAC-SHA256): an endpoint's secrets and the headers of one attempt. Secrets are derived, never stored."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PREFIX = "whsec_"


def secret_of(master: bytes, tenant: str, endpoint_id: str, key_version: int) -> bytes:
    """32 bytes: HKDF-SHA256 (RFC 5869) of the master key."""
    info = f"webhook/{tenant}/{endpoint_id}/{key_version}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(master)


def shown(secret: bytes) -> str:
    """As receivers configure it: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secret).decode()


def signature(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """One entry of `webhook-signature`."""
    signed = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def headers(secrets: Sequence[bytes], webhook_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """secrets: the current one first; while rotating the one before too, so that a receiver may know either."""
    timestamp = int(at.timestamp())
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, webhook_id, timestamp, body) for secret in secrets),
    }
