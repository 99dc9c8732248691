"""The growing RFC 6962 tree: every complete subtree's hash, level by level, so that any root or proof is O(log n) look-ups.

Level k is one bytearray of 32-byte hashes; hash i is the root of leaves [i·2^k, (i+1)·2^k). Two hashes a leaf, 64 bytes, in all.
Nothing stored ever changes, so readers may ask about an old size while the writer appends.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from .errors import TreeRangeError
from .merkle import EMPTY_ROOT, HASH_SIZE, node_hash

__all__ = ["Tree"]


class Tree:
    """Append-only Merkle tree in memory, rebuilt from leaf hashes (`Tree(hashes)`). Raises `TreeRangeError` on every wrong range."""

    __slots__ = ("_levels",)

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._levels: list[bytearray] = [bytearray()]
        self.extend(leaf_hashes)

    @property
    def size(self) -> int:
        """Leaves held."""
        return len(self._levels[0]) // HASH_SIZE

    @property
    def root(self) -> bytes:
        """Root over all leaves; `EMPTY_ROOT` when there are none."""
        return self.root_at(self.size)

    def append(self, leaf_hash: bytes) -> int:
        """Add one leaf hash (32 bytes) and return its index."""
        if len(leaf_hash) != HASH_SIZE:
            raise TreeRangeError(f"a leaf hash has {HASH_SIZE} bytes, not {len(leaf_hash)}: hash the entry with leaf_hash()")
        levels = self._levels
        level = levels[0]
        level += leaf_hash
        count = len(level) // HASH_SIZE
        index, above = count - 1, 1
        # each pair that becomes complete closes one node above; the lowest set bit of the count says how many do
        while not count & 1:
            node = sha256(b"\x01" + level[-2 * HASH_SIZE :]).digest()
            if above == len(levels):
                levels.append(bytearray())
            level = levels[above]
            level += node
            count >>= 1
            above += 1
        return index

    def extend(self, leaf_hashes: Iterable[bytes]) -> int:
        """Add leaf hashes in order and return the new size."""
        for leaf_hash in leaf_hashes:
            self.append(leaf_hash)
        return self.size

    def leaf(self, index: int) -> bytes:
        """The leaf hash at an index."""
        return self.nodes(0, index, 1)

    def nodes(self, level: int, start: int, count: int) -> bytes:
        """`count` hashes of complete subtrees of 2^level leaves from position `start`, end to end. Tiles are cut from these."""
        held = len(self._levels[level]) // HASH_SIZE if 0 <= level < len(self._levels) else 0
        if start < 0 or count < 0 or start + count > held:
            raise TreeRangeError(f"level {level} holds {held} complete nodes, not [{start}, {start + count})")
        return bytes(self._levels[level][start * HASH_SIZE : (start + count) * HASH_SIZE]) if count else b""

    def root_at(self, size: int) -> bytes:
        """Root over the first `size` leaves."""
        self._check(size)
        return self._hash(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """RFC 6962 2.1.1: the hashes from the leaf's sibling up to the child of the root of the first `size` leaves."""
        self._check(size)
        if not 0 <= index < size:
            raise TreeRangeError(f"index {index} is not below size {size}: wait for a checkpoint that covers it")
        proof: list[bytes] = []
        low, high = 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                proof.append(self._hash(middle, high))
                high = middle
            else:
                proof.append(self._hash(low, middle))
                low = middle
        proof.reverse()
        return proof

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """RFC 6962 2.1.2: shows that the tree of `new_size` begins with that of `old_size`. Empty from 0 and between equal sizes."""
        self._check(new_size)
        if not 0 <= old_size <= new_size:
            raise TreeRangeError(f"there is no consistency from size {old_size} to {new_size}: give the older size first")
        if old_size in (0, new_size):
            return []
        proof: list[bytes] = []
        low, high = 0, new_size
        whole = True  # RFC 6962's b: the old tree is the subtree itself, whose root the verifier has
        while high != old_size:
            middle = low + _split(high - low)
            if old_size <= middle:
                proof.append(self._hash(middle, high))
                high = middle
            else:
                proof.append(self._hash(low, middle))
                low, whole = middle, False
        if not whole:
            proof.append(self._hash(low, high))
        proof.reverse()
        return proof

    def _check(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise TreeRangeError(f"size {size} is outside the tree, which holds {self.size} leaves")

    def _hash(self, low: int, high: int) -> bytes:
        """Root of leaves [low, high); low is a multiple of the largest power of two not above high - low."""
        result = b""
        # from the right, smallest complete subtree first: each is one look-up
        end, rest = high, high - low
        while rest:
            level = (rest & -rest).bit_length() - 1
            end -= 1 << level
            at = (end >> level) * HASH_SIZE
            peak = bytes(self._levels[level][at : at + HASH_SIZE])
            result = node_hash(peak, result) if result else peak
            rest &= rest - 1
        return result


def _split(count: int) -> int:
    """Largest power of two below count (count > 1)."""
    return 1 << ((count - 1).bit_length() - 1)
