"""Tokens of the embedded stack's issuer: the same claims and algorithm that a production issuer sends."""

from __future__ import annotations

import time
from pathlib import Path

import jwt

from .errors import CliError

ISSUER, AUDIENCE = "barecount-local", "barecount"
ROLES = ("developer", "operator", "governance", "tenant_admin", "auditor")


def issue(keys: Path, *, user: str, tenant: str, role: str, ttl_seconds: int = 3600) -> str:
    """A signed token (EdDSA) for a person with one role, or several separated by commas.

    Raises: CliError when a role is unknown or the issuer's key is not readable here.
    """
    roles = [part.strip() for part in role.split(",") if part.strip()]
    unknown = [name for name in roles if name not in ROLES]
    if unknown or not roles:
        raise CliError(f"there is no role {', '.join(unknown) or '(none given)'}", f"Use one of {', '.join(ROLES)}.")
    key = keys / "issuer.private.pem"
    try:
        pem = key.read_bytes()
    except OSError as error:
        raise CliError(
            f"cannot issue a token: {key} is not readable ({error.strerror})",
            "Start the stack with `barecount up`, name its folder by BARECOUNT_DATA_DIR, or pass a token by BARECOUNT_TOKEN.",
        ) from error
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": user, "tenant": tenant, "roles": roles, "iat": now, "exp": now + ttl_seconds}
    return jwt.encode(claims, pem, algorithm="EdDSA")
