"""Pure: canonical JSON, Merkle tree, tiles, signed notes, checkpoints, proofs, coverage chain. No IO, no clock, no randomness.

Errors, one tree:
    TransparencyError (a ValueError)
    ├── JsonError            no canonical form, or JSON text refused; `.pointer` says where
    ├── TreeRangeError       an index, size or hash length outside the tree
    ├── TileError            malformed tile path or bundle, or a tile the size does not have
    ├── ProofFormatError     malformed .tlog-proof file
    ├── ChainError           a chain link that is not 32 bytes
    ├── VerificationFailed   well formed, and proves nothing
    │   ├── InclusionFailed
    │   ├── ConsistencyFailed
    │   └── NoteUnverified   (also a NoteError) wrong signature, or none of a known key
    └── NoteError            malformed note
        ├── KeyFormatError   malformed key name, vkey or PEM
        └── CheckpointError  the text is not a checkpoint, or another log's

Sources: RFC 8785 (canonical JSON), RFC 6962 and 9162 (tree, proofs), RFC 8032 (Ed25519), c2sp.org signed-note, tlog-checkpoint,
tlog-tiles, tlog-proof.
"""

from .canonical import MAX_DEPTH, canonical, digest, digest_bytes, loads, parse_digest
from .chain import CHAIN_START, chain, extend
from .checkpoint import Checkpoint, OpenedCheckpoint, open_checkpoint, sign_checkpoint
from .errors import (
    ChainError,
    CheckpointError,
    ConsistencyFailed,
    InclusionFailed,
    JsonError,
    KeyFormatError,
    NoteError,
    NoteUnverified,
    ProofFormatError,
    TileError,
    TransparencyError,
    TreeRangeError,
    VerificationFailed,
)
from .keys import SigningKey, VerifyingKey
from .merkle import EMPTY_ROOT, HASH_SIZE, leaf_hash, node_hash, root_from_inclusion, verify_consistency, verify_inclusion
from .note import MAX_SIGNATURES, Note, OpenedNote, Signature, cosign_note, open_note, parse_note, sign_note
from .proof import TlogProof, verify_proof
from .tiles import MAX_ENTRY, TILE_WIDTH, Tile, decode_bundle, encode_bundle, partial_tiles, tile_content, tiles_at
from .tree import Tree

__all__ = [
    "CHAIN_START",
    "EMPTY_ROOT",
    "HASH_SIZE",
    "MAX_DEPTH",
    "MAX_ENTRY",
    "MAX_SIGNATURES",
    "TILE_WIDTH",
    "ChainError",
    "Checkpoint",
    "CheckpointError",
    "ConsistencyFailed",
    "InclusionFailed",
    "JsonError",
    "KeyFormatError",
    "Note",
    "NoteError",
    "NoteUnverified",
    "OpenedCheckpoint",
    "OpenedNote",
    "ProofFormatError",
    "Signature",
    "SigningKey",
    "Tile",
    "TileError",
    "TlogProof",
    "TransparencyError",
    "Tree",
    "TreeRangeError",
    "VerificationFailed",
    "VerifyingKey",
    "canonical",
    "chain",
    "cosign_note",
    "decode_bundle",
    "digest",
    "digest_bytes",
    "encode_bundle",
    "extend",
    "leaf_hash",
    "loads",
    "node_hash",
    "open_checkpoint",
    "open_note",
    "parse_digest",
    "parse_note",
    "partial_tiles",
    "root_from_inclusion",
    "sign_checkpoint",
    "sign_note",
    "tile_content",
    "tiles_at",
    "verify_consistency",
    "verify_inclusion",
    "verify_proof",
]
