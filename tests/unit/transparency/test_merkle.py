"""The tree against RFC 6962's own recursive definition, written out here, and against transparency-dev/merkle's vectors."""

import hashlib
import random
from itertools import pairwise

import pytest
from barecount_transparency import (
    EMPTY_ROOT,
    ConsistencyFailed,
    InclusionFailed,
    Tree,
    TreeRangeError,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    verify_consistency,
    verify_inclusion,
)
from hypothesis import given, settings
from hypothesis import strategies as st

# transparency-dev/merkle@v0.0.2 testonly/constants.go: LeafInputs and RootHashes, Apache-2.0
LEAF_INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# the same project's NodeHashes, level by level, for the tree of 8
NODES = [
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b76b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

MOST = 300
ENTRIES = [i.to_bytes(4, "big") for i in range(MOST)]


class Reference:
    """RFC 6962 section 2.1, word for word: slices of the list D, recursion, nothing remembered but hashes."""

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self._known: dict[tuple[int, int], bytes] = {}

    def mth(self, low: int, high: int) -> bytes:
        if (low, high) not in self._known:
            if low == high:
                value = hashlib.sha256().digest()
            elif high - low == 1:
                value = hashlib.sha256(b"\0" + self.entries[low]).digest()
            else:
                k = self.k(high - low)
                value = hashlib.sha256(b"\1" + self.mth(low, low + k) + self.mth(low + k, high)).digest()
            self._known[low, high] = value
        return self._known[low, high]

    @staticmethod
    def k(n: int) -> int:
        k = 1
        while k * 2 < n:
            k *= 2
        return k

    def path(self, m: int, low: int, high: int) -> list[bytes]:
        if high - low == 1:
            return []
        k = self.k(high - low)
        if m < k:
            return [*self.path(m, low, low + k), self.mth(low + k, high)]
        return [*self.path(m - k, low + k, high), self.mth(low, low + k)]

    def subproof(self, m: int, low: int, high: int, b: bool) -> list[bytes]:
        n = high - low
        if m == n:
            return [] if b else [self.mth(low, high)]
        k = self.k(n)
        if m <= k:
            return [*self.subproof(m, low, low + k, b), self.mth(low + k, high)]
        return [*self.subproof(m - k, low + k, high, False), self.mth(low, low + k)]


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree(leaf_hash(entry) for entry in ENTRIES)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(ENTRIES)


def flipped(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ (1 << bit)).to_bytes(len(data), "big")


def test_a_range_outside_the_tree_is_refused(tree: Tree) -> None:
    for refused in (
        lambda: tree.root_at(MOST + 1),
        lambda: tree.root_at(-1),
        lambda: tree.inclusion_proof(5, 5),
        lambda: tree.inclusion_proof(-1, 5),
        lambda: tree.inclusion_proof(0, MOST + 1),
        lambda: tree.inclusion_proof(0, 0),
        lambda: tree.consistency_proof(6, 5),
        lambda: tree.consistency_proof(-1, 5),
        lambda: tree.consistency_proof(1, MOST + 1),
        lambda: tree.leaf(MOST),
        lambda: tree.leaf(-1),
        lambda: tree.nodes(1, 149, 2),
        lambda: tree.nodes(9, 0, 1),
        lambda: tree.nodes(-1, 0, 1),
        lambda: Tree([b"short"]),
        lambda: node_hash(b"x", bytes(32)),
    ):
        with pytest.raises(TreeRangeError):
            refused()
    assert tree.size == MOST


def test_a_proof_with_any_bit_flipped_fails(tree: Tree) -> None:
    for index, size in ((0, 2), (4, 7), (6, 7), (99, 100), (128, 300), (299, 300)):
        proof, root, leaf = tree.inclusion_proof(index, size), tree.root_at(size), tree.leaf(index)
        verify_inclusion(leaf, index, size, proof, root)
        for bit in range(256):
            for at, item in enumerate(proof):
                with pytest.raises(InclusionFailed):
                    verify_inclusion(leaf, index, size, [*proof[:at], flipped(item, bit), *proof[at + 1 :]], root)
            with pytest.raises(InclusionFailed):
                verify_inclusion(flipped(leaf, bit), index, size, proof, root)
            with pytest.raises(InclusionFailed):
                verify_inclusion(leaf, index, size, proof, flipped(root, bit))


def test_a_consistency_proof_with_any_bit_flipped_fails(tree: Tree) -> None:
    for old, new in ((1, 2), (3, 7), (4, 7), (6, 8), (128, 300), (255, 300)):
        proof, before, after = tree.consistency_proof(old, new), tree.root_at(old), tree.root_at(new)
        verify_consistency(old, new, before, after, proof)
        for bit in range(256):
            for at, item in enumerate(proof):
                with pytest.raises(ConsistencyFailed):
                    verify_consistency(old, new, before, after, [*proof[:at], flipped(item, bit), *proof[at + 1 :]])
            with pytest.raises(ConsistencyFailed):
                verify_consistency(old, new, flipped(before, bit), after, proof)
            with pytest.raises(ConsistencyFailed):
                verify_consistency(old, new, before, flipped(after, bit), proof)


def test_a_proof_longer_shorter_or_out_of_order_fails(tree: Tree) -> None:
    root, leaf = tree.root_at(299), tree.leaf(37)
    proof = tree.inclusion_proof(37, 299)
    for wrong in ([*proof, bytes(32)], proof[:-1], proof[1:], [], proof[::-1], [*proof[:-1], proof[-1][:31]], [bytes(32), *proof]):
        with pytest.raises(InclusionFailed):
            verify_inclusion(leaf, 37, 299, wrong, root)
    link = tree.consistency_proof(37, 299)
    for wrong in ([*link, bytes(32)], link[:-1], link[1:], [], link[::-1], [*link[:-1], link[-1][:31]], [bytes(32), *link]):
        with pytest.raises(ConsistencyFailed):
            verify_consistency(37, 299, tree.root_at(37), root, wrong)


def test_a_true_proof_does_not_pass_for_a_size_of_another_depth(tree: Tree) -> None:
    # leaf 0 and sizes 2^k: hashes and root are all true, only the claimed size is not
    for true, claimed in ((2, 4), (4, 2), (8, 64), (64, 8), (1, 2), (2, 1)):
        with pytest.raises(InclusionFailed, match="fewer" if claimed > true else "more"):
            verify_inclusion(tree.leaf(0), 0, claimed, tree.inclusion_proof(0, true), tree.root_at(true))
    for true, claimed in ((4, 8), (8, 4), (8, 64), (64, 8)):
        with pytest.raises(ConsistencyFailed, match="too few" if claimed > true else "too many"):
            verify_consistency(2, claimed, tree.root_at(2), tree.root_at(true), tree.consistency_proof(2, true))


def test_a_proof_for_another_index_or_an_impossible_one_fails(tree: Tree) -> None:
    root, leaf, proof = tree.root_at(100), tree.leaf(40), tree.inclusion_proof(40, 100)
    for index in [*range(-2, 40), *range(41, 103)]:
        with pytest.raises(InclusionFailed):
            verify_inclusion(leaf, index, 100, proof, root)
    with pytest.raises(InclusionFailed, match="not below"):
        verify_inclusion(leaf, 0, 0, [], EMPTY_ROOT)
    with pytest.raises(InclusionFailed, match="hash the entry first"):
        verify_inclusion(b"entry", 0, 1, [], leaf_hash(b"entry"))


def test_an_inner_node_cannot_pass_for_a_leaf(tree: Tree) -> None:
    entry = tree.leaf(0) + tree.leaf(1)
    with pytest.raises(InclusionFailed):
        verify_inclusion(leaf_hash(entry), 0, 2, tree.inclusion_proof(0, 4)[1:], tree.root_at(4))


def test_a_shrinking_a_forked_and_a_false_empty_log_fail(tree: Tree) -> None:
    with pytest.raises(ConsistencyFailed, match="never shrinks"):
        verify_consistency(8, 7, tree.root_at(8), tree.root_at(7), [])
    with pytest.raises(ConsistencyFailed, match="forked"):
        verify_consistency(8, 8, tree.root_at(8), tree.root_at(7), [])
    with pytest.raises(ConsistencyFailed, match="empty tree"):
        verify_consistency(0, 8, bytes(32), tree.root_at(8), [])
    with pytest.raises(ConsistencyFailed, match="empty tree"):
        verify_consistency(0, 0, bytes(32), bytes(32), [])
    for old in (0, 8):
        with pytest.raises(ConsistencyFailed, match="proof is empty"):
            verify_consistency(old, 8, tree.root_at(old), tree.root_at(8), [bytes(32)])
    with pytest.raises(ConsistencyFailed, match="history was rewritten"):
        verify_consistency(5, 8, tree.root_at(6), tree.root_at(8), tree.consistency_proof(5, 8))


def test_the_known_roots_and_nodes_come_out() -> None:
    tree = Tree()
    assert tree.root.hex() == ROOTS[0] == EMPTY_ROOT.hex()
    for at, entry in enumerate(LEAF_INPUTS):
        assert tree.append(leaf_hash(bytes.fromhex(entry))) == at
        assert tree.root.hex() == ROOTS[at + 1]
    assert [tree.root_at(size).hex() for size in range(9)] == ROOTS
    assert [tree.nodes(level, 0, 8 >> level).hex() for level in (1, 2, 3)] == NODES


def test_every_root_of_every_size_is_the_references(tree: Tree, reference: Reference) -> None:
    for size in range(MOST + 1):
        assert tree.root_at(size) == reference.mth(0, size)


def test_every_inclusion_proof_is_the_references_and_verifies(tree: Tree, reference: Reference) -> None:
    for size in range(1, MOST + 1):
        root = tree.root_at(size)
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            assert proof == reference.path(index, 0, size)
            verify_inclusion(tree.leaf(index), index, size, proof, root)


def test_every_consistency_proof_is_the_references_and_verifies(tree: Tree, reference: Reference) -> None:
    for new in range(MOST + 1):
        for old in range(new + 1):
            proof = tree.consistency_proof(old, new)
            assert proof == (reference.subproof(old, 0, new, True) if old else [])
            verify_consistency(old, new, tree.root_at(old), tree.root_at(new), proof)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=600), st.data())
def test_a_random_tree_answers_as_the_reference(entries: list[bytes], data: st.DataObject) -> None:
    tree, reference = Tree(map(leaf_hash, entries)), Reference(entries)
    size = data.draw(st.integers(1, len(entries)))
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    assert tree.root_at(size) == reference.mth(0, size)
    assert root_from_inclusion(leaf_hash(entries[index]), index, size, tree.inclusion_proof(index, size)) == tree.root_at(size)
    assert tree.inclusion_proof(index, size) == reference.path(index, 0, size)
    verify_consistency(old, size, reference.mth(0, old), reference.mth(0, size), tree.consistency_proof(old, size))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2**62), st.data())
def test_no_proof_of_random_hashes_is_ever_accepted(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = data.draw(st.lists(st.binary(min_size=32, max_size=32), max_size=64))
    with pytest.raises(InclusionFailed):
        verify_inclusion(bytes(32), index, size, proof, b"\x01" * 32)
    old = data.draw(st.integers(1, size))
    with pytest.raises(ConsistencyFailed):
        verify_consistency(old, size, b"\x02" * 32, b"\x01" * 32, proof)


def test_what_a_tree_answered_about_a_size_stays_true_while_it_grows() -> None:
    rng = random.Random(6962)
    tree, asked = Tree(), {}
    for entry in ENTRIES:
        tree.append(leaf_hash(entry))
        index = rng.randrange(tree.size)
        asked[tree.size] = (index, tree.root, tree.inclusion_proof(index, tree.size))
    for size, (index, root, proof) in asked.items():
        assert (tree.root_at(size), tree.inclusion_proof(index, size)) == (root, proof)
    for (old, (_, before, _)), (new, (_, after, _)) in pairwise(asked.items()):
        verify_consistency(old, new, before, after, tree.consistency_proof(old, new))


def test_a_tree_stores_two_hashes_a_leaf() -> None:
    tree = Tree(leaf_hash(i.to_bytes(4, "big")) for i in range(10_000))
    assert sum(len(tree.nodes(level, 0, 10_000 >> level)) for level in range(14)) <= 64 * 10_000
