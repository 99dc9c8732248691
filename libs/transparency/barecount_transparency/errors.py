"""One error tree: catch `TransparencyError` for all of it. Each message says what, to which thing, and what to do."""

from __future__ import annotations

__all__ = [
    "ChainError",
    "CheckpointError",
    "ConsistencyFailed",
    "InclusionFailed",
    "JsonError",
    "KeyFormatError",
    "NoteError",
    "NoteUnverified",
    "ProofFormatError",
    "TileError",
    "TransparencyError",
    "TreeRangeError",
    "VerificationFailed",
]


class TransparencyError(ValueError):
    """Anything this library refuses."""


class JsonError(TransparencyError):
    """A value or a text that has no canonical JSON form; `pointer` (RFC 6901) names the place, "" is the whole."""

    def __init__(self, why: str, pointer: str = "") -> None:
        self.pointer = pointer
        super().__init__(f"at {pointer or 'the top'}: {why}")


class TreeRangeError(TransparencyError):
    """An index or a size that the tree does not hold, or a hash that is not 32 bytes."""


class VerificationFailed(TransparencyError):
    """The bytes are well formed and prove nothing. Never retry: either side is wrong or lying."""


class InclusionFailed(VerificationFailed):
    """The leaf is not proven to be in the tree under that root."""


class ConsistencyFailed(VerificationFailed):
    """The new tree is not proven to be the old one with leaves appended."""


class TileError(TransparencyError):
    """A tile path or bundle that is malformed, or a tile that a tree of that size does not have."""


class NoteError(TransparencyError):
    """A signed note that is malformed."""


class NoteUnverified(NoteError, VerificationFailed):
    """No known key signed the note, or a known key's signature is wrong."""


class KeyFormatError(NoteError):
    """A key name, vkey or PEM that is malformed or of a type other than Ed25519."""


class CheckpointError(NoteError):
    """A note whose text is not a checkpoint, or one of another log."""


class ProofFormatError(TransparencyError):
    """A tlog-proof file that is malformed."""


class ChainError(TransparencyError):
    """A link or a digest of the coverage chain that is not 32 bytes."""
