"""Other people's verifiers judge our log: x/mod/sumdb/note, transparency-dev/formats and transparency-dev/merkle, in Go.

`verifier/` is built once a session into a temporary folder; without `go`, or without its modules, the tests skip and say so.
"""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from barecount_transparency import (
    Checkpoint,
    InclusionFailed,
    SigningKey,
    Tile,
    TlogProof,
    Tree,
    VerifyingKey,
    cosign_note,
    encode_bundle,
    leaf_hash,
    open_checkpoint,
    sign_checkpoint,
    tile_content,
    tiles_at,
    verify_proof,
)

HERE = Path(__file__).parent
ORIGIN = "log.example/barecount"
LOG = SigningKey.from_seed(ORIGIN, bytes(range(32)))
WITNESS = SigningKey.from_seed("witness.example/w1", bytes(32))
SIZE = 66_049  # 257^2: three tile levels, the last leaf alone on the right
ENTRIES = [b"entry %d" % i * (i % 3) for i in range(SIZE)]
SIZES = [0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, SIZE]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="session")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go") or ("/usr/local/go/bin/go" if os.access("/usr/local/go/bin/go", os.X_OK) else None)
    if go is None:
        pytest.skip("go is not installed: install Go 1.26 to let the independent verifiers judge the log")
    binary = tmp_path_factory.mktemp("verifier") / "verifier"
    modules = subprocess.run([go, "mod", "download"], cwd=HERE / "verifier", capture_output=True, text=True, timeout=100)
    if modules.returncode:
        pytest.skip(f"the verifier's Go modules cannot be had here: {modules.stderr.strip()[-300:]}")
    built = subprocess.run(
        [go, "build", "-mod=readonly", "-o", binary, "."], cwd=HERE / "verifier", capture_output=True, text=True, timeout=100
    )
    assert built.returncode == 0, f"tests/conformance/transparency/verifier does not build:\n{built.stderr}"
    return binary


@pytest.fixture(scope="session")
def tree() -> Tree:
    return Tree(map(leaf_hash, ENTRIES))


def judge(verifier: Path, **document: Any) -> dict[str, Any]:
    text = json.dumps({"origin": ORIGIN, "vkey": LOG.verifying_key.vkey, **document})
    done = subprocess.run([verifier], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


def inclusion(tree: Tree, index: int, size: int) -> dict[str, Any]:
    proof = [b64(item) for item in tree.inclusion_proof(index, size)]
    return {"index": index, "size": size, "leaf": b64(tree.leaf(index)), "proof": proof, "root": b64(tree.root_at(size))}


def consistency(tree: Tree, old: int, new: int) -> dict[str, Any]:
    roots = {"old_root": b64(tree.root_at(old)), "new_root": b64(tree.root_at(new))}
    return {"old": old, "new": new, "proof": [b64(item) for item in tree.consistency_proof(old, new)], **roots}


def test_the_verifier_refuses_what_is_forged(verifier: Path, tree: Tree) -> None:
    wrong_index = inclusion(tree, 5, 300) | {"index": 6}
    forked = consistency(tree, 100, 300) | {"old_root": b64(tree.root_at(101))}
    false_root = sign_checkpoint(Checkpoint(ORIGIN, 10, tree.root_at(11)), LOG)
    other_key = sign_checkpoint(Checkpoint(ORIGIN, 10, tree.root_at(10)), SigningKey.from_seed(ORIGIN, bytes(32)))
    tile = {"level": 0, "index": 0, "data": b64(tree.nodes(0, 1, 256))}
    verdict = judge(
        verifier,
        entries=[b64(entry) for entry in ENTRIES[:300]],
        inclusions=[wrong_index],
        consistency=[forked],
        checkpoints=[b64(false_root), b64(other_key)],
        tiles=[tile],
        bundles=[{"index": 0, "data": b64(encode_bundle(ENTRIES[1:257]))}],
    )
    assert [failure.split(":")[0] for failure in verdict["failures"]] == [
        "checkpoint 0",
        "checkpoint 1",
        "inclusion 0",
        "consistency 0",
        "bundle 0",
        "tile 0",
    ]


def test_every_proof_of_every_pair_up_to_100_leaves_is_accepted(verifier: Path, tree: Tree) -> None:
    verdict = judge(
        verifier,
        inclusions=[inclusion(tree, index, size) for size in range(1, 101) for index in range(size)],
        consistency=[consistency(tree, old, new) for new in range(101) for old in range(new + 1)],
    )
    assert verdict["failures"] == []
    assert verdict["checked"] == {"vkey": 1, "inclusion": 5050, "consistency": 5151}


def test_checkpoints_proof_files_tiles_and_bundles_of_a_large_log_are_accepted(verifier: Path, tree: Tree) -> None:
    notes = {size: cosign_note(sign_checkpoint(Checkpoint(ORIGIN, size, tree.root_at(size)), LOG), WITNESS) for size in SIZES}
    files = [
        {"file": b64(TlogProof(index, tuple(tree.inclusion_proof(index, size)), notes[size], extra).encode()), "entry": b64(ENTRIES[index])}
        for size in SIZES[1:]
        for index in sorted({0, size // 2, size - 1})
        for extra in (None, b"context")
    ]
    tiles = [t for size in (257, SIZE) for t in tiles_at(size)]
    verdict = judge(
        verifier,
        cosigners=[WITNESS.verifying_key.vkey],
        entries=[b64(entry) for entry in ENTRIES],
        checkpoints=[b64(note) for note in notes.values()],
        proof_files=files,
        inclusions=[inclusion(tree, index, SIZE) for index in range(0, SIZE, 97)],
        consistency=[consistency(tree, old, new) for new in SIZES for old in SIZES if old <= new],
        tiles=[{"level": t.level, "index": t.index, "data": b64(content(tree, t))} for t in tiles if not t.entries],
        bundles=[{"index": t.index, "data": b64(bundle(t))} for t in tiles if t.entries],
    )
    assert verdict["failures"] == []
    assert verdict["checked"]["checkpoint"] == len(SIZES)
    assert verdict["checked"]["tile"] == 265
    assert verdict["checked"]["bundle"] == 261


def test_what_go_signs_and_proves_is_accepted_here(verifier: Path, tree: Tree) -> None:
    size = 301
    verdict = judge(verifier, entries=[b64(entry) for entry in ENTRIES[:size]], foreign=True)
    assert verdict["failures"] == []
    key = VerifyingKey.parse(verdict["vkey"])
    note = base64.b64decode(verdict["note"])
    assert open_checkpoint(note, ORIGIN, key).checkpoint == Checkpoint(ORIGIN, size, tree.root_at(size))
    proof = TlogProof.decode(base64.b64decode(verdict["proof"]))
    assert proof == TlogProof(size - 1, tuple(tree.inclusion_proof(size - 1, size)), note, b"made in Go")
    verify_proof(proof, leaf_hash(ENTRIES[size - 1]), ORIGIN, key)
    with pytest.raises(InclusionFailed):
        verify_proof(proof, leaf_hash(ENTRIES[size - 2]), ORIGIN, key)


def content(tree: Tree, tile: Tile) -> bytes:
    return tile_content(tree, tile, SIZE)


def bundle(tile: Tile) -> bytes:
    return encode_bundle(ENTRIES[tile.index * 256 : tile.index * 256 + tile.width])
