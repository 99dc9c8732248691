"""The `.tlog-proof` file: one entry's inclusion, provable offline with nothing but the log's public key. Source: c2sp.org/tlog-proof@v1."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from . import base64s
from .checkpoint import OpenedCheckpoint, open_checkpoint
from .errors import ProofFormatError
from .keys import VerifyingKey
from .merkle import HASH_SIZE, verify_inclusion

__all__ = ["TlogProof", "verify_proof"]

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
_MAX_HASHES = 63


@dataclass(frozen=True)
class TlogProof:
    """Index, sibling hashes (32 bytes, leaf's first, at most 63), the checkpoint's signed bytes, and `extra`, which nothing authenticates.

    Raises `ProofFormatError`.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index < 2**63:
            raise ProofFormatError(f"index {self.index} is not within 0 and 2^63-1")
        if len(self.hashes) > _MAX_HASHES or any(len(item) != HASH_SIZE for item in self.hashes):
            raise ProofFormatError(f"a proof has at most {_MAX_HASHES} hashes of {HASH_SIZE} bytes")
        if not self.checkpoint:
            raise ProofFormatError("a proof carries the checkpoint it leads to: none is given")

    def encode(self) -> bytes:
        """The file's bytes."""
        lines = [_HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64s.encode(self.extra)}")
        lines += [f"index {self.index}", *map(base64s.encode, self.hashes), "", ""]
        return "\n".join(lines).encode("ascii") + self.checkpoint

    @classmethod
    def decode(cls, data: bytes) -> TlogProof:
        """Read a file; verifies nothing. Raises `ProofFormatError`."""
        # bytes, not text: the checkpoint goes on verbatim, whatever it holds
        head, blank, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as cause:
            raise ProofFormatError("the proof's own lines are not ASCII") from cause
        if lines.pop(0) != _HEADER:
            raise ProofFormatError(f"the first line is not {_HEADER}: this is no tlog proof")
        if not blank or not checkpoint:
            raise ProofFormatError("no checkpoint follows the proof: save the file again")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = base64s.decode(lines.pop(0).removeprefix("extra "))
            if extra is None:
                raise ProofFormatError("the extra line is not base64")
        index = _INDEX.fullmatch(lines.pop(0)) if lines else None
        if index is None:
            raise ProofFormatError("the line 'index <number>' is missing or has leading zeros")
        hashes = []
        for line in lines:
            item = base64s.decode(line)
            if item is None:
                raise ProofFormatError(f"{line[:80]!r} is not a base64 hash")
            hashes.append(item)
        return cls(int(index.group(1)), tuple(hashes), checkpoint, extra)


def verify_proof(
    proof: TlogProof, leaf_hash: bytes, origin: str, log_key: VerifyingKey, other_keys: Iterable[VerifyingKey] = ()
) -> OpenedCheckpoint:
    """Prove offline that the leaf is in the log: the checkpoint is the log's, and the hashes lead to its root.

    The leaf hash must come from the caller's own entry, never from the proof's sender.
    Raises `NoteError`, `NoteUnverified`, `CheckpointError` as `open_checkpoint`, and `InclusionFailed`.
    """
    opened = open_checkpoint(proof.checkpoint, origin, log_key, other_keys)
    verify_inclusion(leaf_hash, proof.index, opened.checkpoint.size, proof.hashes, opened.checkpoint.root)
    return opened
