"""Ed25519 keys of signed notes: a name and a key, known to others as a vkey `name+hex8(key id)+base64(0x01 || public key)`.

Source: c2sp.org/signed-note v1.0.0. PEM goes in and out as bytes; nothing here reads a file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from . import base64s
from .errors import KeyFormatError

__all__ = ["SigningKey", "VerifyingKey"]

ED25519 = 0x01
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class VerifyingKey:
    """Whose signature is accepted: `name` (no spaces, no plus) and the raw 32-byte Ed25519 public key. Raises `KeyFormatError`."""

    name: str
    public_key: bytes
    key_id: bytes = field(init=False, repr=False)
    """First four bytes of SHA-256(name || 0x0A || 0x01 || public key)."""

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise KeyFormatError(f"{self.name[:80]!r} is not a key name: use a URL without scheme, no spaces and no plus")
        if len(self.public_key) != 32:
            raise KeyFormatError(f"an Ed25519 public key has 32 bytes, not {len(self.public_key)}")
        preimage = self.name.encode("utf-8") + b"\n" + bytes([ED25519]) + self.public_key
        object.__setattr__(self, "key_id", hashlib.sha256(preimage).digest()[:4])

    @classmethod
    def parse(cls, vkey: str) -> VerifyingKey:
        """Read a vkey. Raises `KeyFormatError`, also when its id does not belong to its key."""
        # the base64 part may hold plus signs of its own: only the first two separate
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise KeyFormatError(f"{vkey[:80]!r} is not a vkey: expected name+id+key")
        name, hexadecimal, encoded = parts
        material = base64s.decode(encoded)
        if len(hexadecimal) != 8 or not _HEX.issuperset(hexadecimal) or not material:
            raise KeyFormatError(f"{vkey[:80]!r} is not a vkey: the id is 8 lower-case hex digits, the key is base64")
        if material[0] != ED25519:
            raise KeyFormatError(f"the vkey of {name[:80]!r} has signature type {material[0]:#04x}: only Ed25519 (0x01) is supported")
        key = cls(name, material[1:])
        if key.key_id.hex() != hexadecimal:
            raise KeyFormatError(f"the vkey of {name[:80]!r} has id {hexadecimal}, but its key has {key.key_id.hex()}: copy it again")
        return key

    @classmethod
    def from_pem(cls, name: str, pem: bytes) -> VerifyingKey:
        """Read a SubjectPublicKeyInfo PEM. Raises `KeyFormatError`."""
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as cause:
            raise KeyFormatError(f"no public key PEM for {name!r}: {cause}") from cause
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFormatError(f"the PEM for {name!r} holds a {type(key).__name__}, not an Ed25519 key")
        return cls(name, key.public_bytes_raw())

    def to_pem(self) -> bytes:
        """SubjectPublicKeyInfo PEM."""
        key = Ed25519PublicKey.from_public_bytes(self.public_key)
        return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def vkey(self) -> str:
        """The text form that others configure."""
        return f"{self.name}+{self.key_id.hex()}+{base64s.encode(bytes([ED25519]) + self.public_key)}"

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether the 64-byte signature is this key's over the message (RFC 8032)."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """The secret half. Only the evidence service holds the log's. Its repr shows no secret."""

    name: str
    private_key: Ed25519PrivateKey = field(repr=False)
    verifying_key: VerifyingKey = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "verifying_key", VerifyingKey(self.name, self.private_key.public_key().public_bytes_raw()))

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> SigningKey:
        """From the 32-byte RFC 8032 seed. Raises `KeyFormatError`."""
        if len(seed) != 32:
            raise KeyFormatError(f"an Ed25519 seed has 32 bytes, not {len(seed)}")
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, name: str, pem: bytes, password: bytes | None = None) -> SigningKey:
        """Read a PKCS#8 PEM, encrypted or not. Raises `KeyFormatError`."""
        try:
            key = serialization.load_pem_private_key(pem, password)
        except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
            raise KeyFormatError(f"no private key PEM for {name!r}: {cause}") from cause
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFormatError(f"the PEM for {name!r} holds a {type(key).__name__}, not an Ed25519 key")
        return cls(name, key)

    def to_pem(self, password: bytes | None = None) -> bytes:
        """PKCS#8 PEM, encrypted when a password is given."""
        protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return self.private_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)

    def sign(self, message: bytes) -> bytes:
        """64-byte Ed25519 signature (deterministic)."""
        return self.private_key.sign(message)


def is_key_name(name: str) -> bool:
    """Non-empty, encodable, without Unicode spaces, control characters or plus."""
    if not name or "+" in name or any(c.isspace() or c < " " for c in name):
        return False
    return name.encode("utf-8", "ignore").decode("utf-8") == name
