"""RFC 6962 Merkle hashing and the verifiers of RFC 9162, sections 2.1.3.2 (inclusion) and 2.1.4.2 (consistency).

Hashes are 32 bytes (SHA-256); a proof is a sequence of them, the leaf's sibling first. Verifiers return None or raise.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from .errors import ConsistencyFailed, InclusionFailed, TreeRangeError

__all__ = ["EMPTY_ROOT", "HASH_SIZE", "leaf_hash", "node_hash", "root_from_inclusion", "verify_consistency", "verify_inclusion"]

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without leaves, e3b0c442…b855."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right); both 32 bytes, or a leaf could pass for a node. Raises `TreeRangeError`."""
    if len(left) != HASH_SIZE or len(right) != HASH_SIZE:
        raise TreeRangeError(f"a node has two hashes of {HASH_SIZE} bytes, not {len(left)} and {len(right)}")
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that the proof leads to for the leaf hash at `index` of a tree of `size` leaves. Raises `InclusionFailed`."""
    if not 0 <= index < size:
        raise InclusionFailed(f"index {index} is not below the tree's size {size}: ask for a proof of a size that covers it")
    _check_hashes(proof, InclusionFailed)
    if len(leaf) != HASH_SIZE:
        raise InclusionFailed(f"a leaf hash has {HASH_SIZE} bytes, not {len(leaf)}: hash the entry first")
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            raise InclusionFailed(f"the proof has more than the hashes that index {index} of {size} leaves needs")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise InclusionFailed(f"the proof has fewer than the hashes that index {index} of {size} leaves needs")
    return r


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Prove that the leaf hash stands at `index` in the tree of `size` leaves under `root`. Raises `InclusionFailed`."""
    found = root_from_inclusion(leaf, index, size, proof)
    if not hmac.compare_digest(found, root):
        raise InclusionFailed(f"the proof for index {index} of {size} leaves leads to root {found.hex()}, not to {root.hex()}")


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Prove that the tree of `new_size` begins with the whole tree of `old_size`. Raises `ConsistencyFailed`.

    RFC 9162 leaves sizes 0 and equal sizes open: both take an empty proof; an empty tree must have the empty root, equal sizes equal roots.
    """
    if not 0 <= old_size <= new_size:
        raise ConsistencyFailed(f"sizes {old_size} to {new_size} do not grow: a log never shrinks")
    _check_hashes((old_root, new_root, *proof), ConsistencyFailed)
    for size, root in ((old_size, old_root), (new_size, new_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise ConsistencyFailed(f"an empty tree has the root {EMPTY_ROOT.hex()}, not {root.hex()}")
    if old_size in (0, new_size):
        if proof:
            raise ConsistencyFailed(f"from {old_size} to {new_size} the proof is empty, not {len(proof)} hashes")
        if old_size == new_size and old_root != new_root:
            raise ConsistencyFailed(f"two roots for size {old_size}: {old_root.hex()} and {new_root.hex()}: the log was forked")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)  # a whole subtree: its root is the first node and stands in no proof
    if not path:
        raise ConsistencyFailed(f"the proof from {old_size} to {new_size} is empty")
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            raise ConsistencyFailed(f"the proof from {old_size} to {new_size} has too many hashes")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ConsistencyFailed(f"the proof from {old_size} to {new_size} has too few hashes")
    if not hmac.compare_digest(fr, old_root):
        raise ConsistencyFailed(f"the proof does not lead to the old root {old_root.hex()} of size {old_size}: history was rewritten")
    if not hmac.compare_digest(sr, new_root):
        raise ConsistencyFailed(f"the proof does not lead to the new root {new_root.hex()} of size {new_size}")


def _check_hashes(hashes: Sequence[bytes], error: type[InclusionFailed] | type[ConsistencyFailed]) -> None:
    for at, item in enumerate(hashes):
        if len(item) != HASH_SIZE:
            raise error(f"hash {at} has {len(item)} bytes, not {HASH_SIZE}")
