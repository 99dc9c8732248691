"""The keys of one stack, made once: services sign with them, the local issuer makes tokens with them.

<name>.private.pem (0600) and <name>.public.pem, Ed25519, for every service, `issuer` (JWT) and `ledger` (checkpoints);
token.secret: 32 random bytes from which consistency tokens are derived. webhooks.master (0600): 32 random bytes from which the webhooks
service alone derives every endpoint's secret.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from .passwords import PRINCIPALS, PUBLISHER, write_private

NAMES = (*(name for name in PRINCIPALS if name not in ("admin", PUBLISHER)), "issuer", "ledger")


def make_keys(folder: Path) -> None:
    """Makes what is missing; what is there stays, because a key outlives every start."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        private, public = folder / f"{name}.private.pem", folder / f"{name}.public.pem"
        if private.exists() and public.exists():
            continue
        key = Ed25519PrivateKey.generate()
        write_private(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for name in NAMES:
        # the chassis reads <name>.pem: one key under both names
        short = folder / f"{name}.pem"
        if not short.is_symlink():
            short.symlink_to(f"{name}.private.pem")
    for name in ("token.secret", "webhooks.master"):
        if not (folder / name).exists():
            write_private(folder / name, secrets.token_bytes(32))
