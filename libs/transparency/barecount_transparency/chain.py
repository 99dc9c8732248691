"""Hash chain of a source partition's records: the ledger's coverage leaves carry its head, so that a gap or a swap shows.

link(n) = SHA-256(0x02 || link(n-1) || SHA-256(record bytes)). The prefix keeps a link from passing for a Merkle leaf (0x00) or node (0x01).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from .errors import ChainError

__all__ = ["CHAIN_START", "chain", "extend"]

CHAIN_START = bytes(32)
"""The head before a partition's first record."""


def extend(previous: bytes, record_bytes_digest: bytes) -> bytes:
    """The head after one more record, from the head before it and the record's SHA-256, 32 bytes each. Raises `ChainError`."""
    if len(previous) != 32 or len(record_bytes_digest) != 32:
        raise ChainError(
            f"a chain is made of 32-byte hashes, not {len(previous)} and {len(record_bytes_digest)} bytes: hash the record first"
        )
    return sha256(b"\x02" + previous + record_bytes_digest).digest()


def chain(previous: bytes, records: Iterable[bytes]) -> bytes:
    """The head after these records' raw bytes, in order; `previous` itself when there are none. Raises `ChainError`."""
    head = previous
    for record in records:
        head = extend(head, sha256(record).digest())
    if len(head) != 32:
        raise ChainError(f"a chain's head has 32 bytes, not {len(head)}")
    return head
