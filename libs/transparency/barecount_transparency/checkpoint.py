"""Checkpoints: a signed note that says "log `origin` has `size` leaves under `root`". Source: c2sp.org/tlog-checkpoint v1.0.0."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from . import base64s
from .errors import CheckpointError, NoteUnverified
from .keys import SigningKey, VerifyingKey
from .merkle import EMPTY_ROOT, HASH_SIZE
from .note import OpenedNote, open_note, sign_note

__all__ = ["Checkpoint", "OpenedCheckpoint", "open_checkpoint", "sign_checkpoint"]

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINE_BREAKS = re.compile(r"[\x00-\x1f]")


@dataclass(frozen=True)
class Checkpoint:
    """A tree head: origin (non-empty line), size (leaves, below 2^63), root (32 bytes), extension lines (discouraged: nobody audits them).

    Raises `CheckpointError`, also for an empty tree whose root is not the empty root.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or _LINE_BREAKS.search(line):
                raise CheckpointError(f"{line[:80]!r} is not a line of a checkpoint: no empty lines, no control characters")
        if not 0 <= self.size < 2**63:
            raise CheckpointError(f"size {self.size} is not within 0 and 2^63-1")
        if len(self.root) != HASH_SIZE:
            raise CheckpointError(f"the root has {len(self.root)} bytes, not {HASH_SIZE}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointError(f"a tree of size 0 has the root {EMPTY_ROOT.hex()}, not {self.root.hex()}")

    @property
    def text(self) -> str:
        """The note text that is signed."""
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), base64s.encode(self.root), *self.extensions))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note's text, strictly: no leading zeros, no blank lines, one spelling of base64. Raises `CheckpointError`."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "":
            raise CheckpointError("a checkpoint is at least three lines, each closed by a newline: origin, size, root")
        origin, size, root, *extensions = lines
        if not _SIZE.fullmatch(size):
            raise CheckpointError(f"{size[:40]!r} is not a tree size: a decimal without leading zeros, below 2^63")
        raw = base64s.decode(root)
        if raw is None:
            raise CheckpointError(f"{root[:80]!r} is not a base64 root hash")
        return cls(origin, int(size), raw, tuple(extensions))


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A checkpoint that its log signed, with the verified note (the other known signers are in `note.verified`)."""

    checkpoint: Checkpoint
    note: OpenedNote


def sign_checkpoint(checkpoint: Checkpoint, *keys: SigningKey) -> bytes:
    """The signed note. The log's own key carries the origin as its name. Raises `NoteError`."""
    return sign_note(checkpoint.text, *keys)


def open_checkpoint(data: bytes, origin: str, log_key: VerifyingKey, other_keys: Iterable[VerifyingKey] = ()) -> OpenedCheckpoint:
    """Verify a checkpoint of the log `origin`; `other_keys` are checked if they signed, `log_key` must have signed.

    Raises `NoteError` (malformed), `NoteUnverified` (wrong or missing signature), `CheckpointError` (not a checkpoint, another log's).
    """
    opened = open_note(data, (log_key, *other_keys))
    if not opened.signed_by(log_key):
        raise NoteUnverified(f"the log's key {log_key.vkey} did not sign this checkpoint")
    checkpoint = Checkpoint.parse(opened.text)
    if checkpoint.origin != origin:
        raise CheckpointError(f"the checkpoint is of log {checkpoint.origin!r}, not of {origin!r}")
    return OpenedCheckpoint(checkpoint, opened)
