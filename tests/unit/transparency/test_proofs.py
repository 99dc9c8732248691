"""The .tlog-proof file and the coverage chain: what a user keeps on disk and checks without us."""

from hashlib import sha256

import pytest
from barecount_transparency import (
    CHAIN_START,
    ChainError,
    Checkpoint,
    CheckpointError,
    InclusionFailed,
    NoteUnverified,
    ProofFormatError,
    SigningKey,
    TlogProof,
    TransparencyError,
    Tree,
    chain,
    extend,
    leaf_hash,
    sign_checkpoint,
    verify_proof,
)
from hypothesis import given
from hypothesis import strategies as st

ORIGIN = "log.example/barecount"
LOG = SigningKey.from_seed(ORIGIN, bytes(range(32)))
ENTRIES = [f"entry {i}".encode() for i in range(50)]
TREE = Tree(map(leaf_hash, ENTRIES))


def proof_of(index: int, size: int, extra: bytes | None = None) -> TlogProof:
    checkpoint = sign_checkpoint(Checkpoint(ORIGIN, size, TREE.root_at(size)), LOG)
    return TlogProof(index, tuple(TREE.inclusion_proof(index, size)), checkpoint, extra)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"c2sp.org/tlog-proof@v1\n", b"c2sp.org/tlog-proof@v2\n"),
        (b"c2sp.org/tlog-proof@v1\n", b""),
        (b"index 7\n", b""),
        (b"index 7\n", b"index 07\n"),
        (b"index 7\n", b"index -7\n"),
        (b"index 7\n", b"index 7 \n"),
        (b"index 7\n", b"index 9223372036854775808\n"),
        (b"index 7\n", b"extra AA==\nindex 7\nextra AA==\n"),
        (b"index 7\n", b"extra AB==\nindex 7\n"),
        (b"index 7\n", b"extra AA\nindex 7\n"),
        (b"index 7\n", b"index 7\nAAAA\n"),
        (b"index 7\n", b"index 7\n?\n"),
        (b"index 7\n", "index 7\né\n".encode()),
        (b"index 7\n", b"index 7\r\n"),
        (b"index 7\n", b"index 7\n" + (b"A" * 43 + b"=\n") * 64),
        (b"\n\n" + ORIGIN.encode(), b"\n" + ORIGIN.encode()),
    ],
)
def test_a_malformed_proof_file_is_refused(old: bytes, new: bytes) -> None:
    good = proof_of(7, 50).encode()
    assert old in good
    with pytest.raises(ProofFormatError):
        TlogProof.decode(good.replace(old, new, 1))


def test_a_proof_that_cannot_be_is_not_made() -> None:
    for index, hashes, checkpoint in (
        (-1, (), b"x"),
        (2**63, (), b"x"),
        (0, (bytes(31),), b"x"),
        (0, (bytes(32),) * 64, b"x"),
        (0, (), b""),
    ):
        with pytest.raises(ProofFormatError):
            TlogProof(index, hashes, checkpoint)
    with pytest.raises(ProofFormatError):
        TlogProof.decode(b"")


def test_a_proof_of_another_entry_log_or_key_fails() -> None:
    proof = proof_of(7, 50)
    with pytest.raises(InclusionFailed):
        verify_proof(proof, leaf_hash(ENTRIES[8]), ORIGIN, LOG.verifying_key)
    with pytest.raises(CheckpointError):
        verify_proof(proof, leaf_hash(ENTRIES[7]), "log.example/other", LOG.verifying_key)
    with pytest.raises(NoteUnverified):
        verify_proof(proof, leaf_hash(ENTRIES[7]), ORIGIN, SigningKey.from_seed(ORIGIN, bytes(32)).verifying_key)
    moved = TlogProof(8, proof.hashes, proof.checkpoint)
    with pytest.raises(InclusionFailed):
        verify_proof(moved, leaf_hash(ENTRIES[7]), ORIGIN, LOG.verifying_key)


def test_a_file_with_any_bit_changed_is_refused() -> None:
    good = proof_of(37, 50).encode()
    for at in range(len(good)):
        for bit in range(8):
            changed = bytearray(good)
            changed[at] ^= 1 << bit
            with pytest.raises(TransparencyError):
                verify_proof(TlogProof.decode(bytes(changed)), leaf_hash(ENTRIES[37]), ORIGIN, LOG.verifying_key)


def test_a_link_of_the_wrong_length_is_refused() -> None:
    for previous, record in ((b"", bytes(32)), (bytes(32), b""), (bytes(31), bytes(33))):
        with pytest.raises(ChainError):
            extend(previous, record)
    with pytest.raises(ChainError):
        chain(b"short", [])


@given(st.integers(1, 50), st.data(), st.none() | st.binary(max_size=30))
def test_every_proof_file_is_read_back_and_verifies(size: int, data: st.DataObject, extra: bytes | None) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = proof_of(index, size, extra)
    again = TlogProof.decode(proof.encode())
    assert again == proof
    assert verify_proof(again, leaf_hash(ENTRIES[index]), ORIGIN, LOG.verifying_key).checkpoint.size == size


def test_the_chain_is_the_hash_that_its_docstring_says() -> None:
    first = sha256(b"\x02" + bytes(32) + sha256(b"a").digest()).digest()
    assert extend(CHAIN_START, sha256(b"a").digest()) == first
    assert chain(CHAIN_START, [b"a", b"b"]) == sha256(b"\x02" + first + sha256(b"b").digest()).digest()
    assert chain(first, []) == first


@given(st.lists(st.binary(max_size=8), max_size=8), st.lists(st.binary(max_size=8), max_size=8))
def test_a_gap_a_swap_or_a_change_shows_in_the_chain(left: list[bytes], right: list[bytes]) -> None:
    assert (chain(CHAIN_START, left) == chain(CHAIN_START, right)) == (left == right)
    assert chain(chain(CHAIN_START, left), right) == chain(CHAIN_START, left + right)
