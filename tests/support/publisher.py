"""An external system as its own authors would write it: PyJWT makes the signature, nothing of the product's code does."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.api_jws import PyJWS

NAMESPACE = UUID("6f1c1c1e-6a5b-5a43-9a0d-2f1f8b1d7c10")


@dataclass(frozen=True)
class Publisher:
    """A registered system with its key."""

    tenant: str = "acme"
    name: str = "ci"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public_key(self) -> str:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    @property
    def principal(self) -> str:
        return f"publisher:{self.tenant}/{self.name}"

    def id_of(self, jti: str) -> UUID:
        return uuid5(NAMESPACE, f"{self.tenant}\x1f{self.principal}\x1f{jti}")

    def command(self, type_: str, data: dict[str, Any], *, jti: str, **changed: Any) -> bytes:
        """The record's value. `changed` are fields of the envelope."""
        identity = str(self.id_of(jti))
        made = {"id": identity, "type": type_, "version": 1, "tenant": self.tenant, "time": datetime.now(UTC).isoformat()}
        return json.dumps({**made, "correlation": identity, "principal": self.principal, "data": data, **changed}).encode()

    def signature(self, value: bytes, *, jti: str, exp: Any, **header: Any) -> bytes:
        """The record's header `jws`. A header field None is left out."""
        told = {"kid": f"{self.tenant}/{self.name}", "jti": jti, "exp": exp, "typ": None, **header}
        whole = PyJWS().encode(value, self.key, algorithm="EdDSA", headers=told)
        protected, _, signature = whole.partition(".")[0], "", whole.rpartition(".")[2]
        return f"{protected}..{signature}".encode()
