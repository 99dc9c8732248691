"""The ledger as its log says: rebuilt from the records alone, checked against every checkpoint on the way.

Whoever signs next reads through here first. A ledger that does not match its own checkpoints raises `LedgerTampered`, and nothing is signed
over it: the remedy is a person's, with `barecount evidence verify` and a copy of the log.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from barecount_contracts import CoverageLeaf, LedgerBatch, LedgerCheckpoint
from barecount_transparency import (
    Checkpoint,
    TransparencyError,
    Tree,
    VerifyingKey,
    leaf_hash,
    loads,
    open_checkpoint,
)
from pydantic import ValidationError

from .batch import LedgerState, SourceGap

COVERAGE_PREFIX = b'{"kind":"coverage"'
"""How a coverage leaf begins and a record never does: canonical JSON sorts, and a record's first member is `at`."""


RECENT: Final = 256
"""Checkpoints kept at hand; older ones stand in the read model."""


class LedgerTampered(Exception):
    """The ledger's log contradicts itself. Nothing may be signed or appended until a person has looked."""


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint that stands in the ledger."""

    checkpoint: Checkpoint
    note: bytes

    @property
    def size(self) -> int:
        return self.checkpoint.size


class Ledger:
    """Tree, coverage and newest checkpoint, fed record by record in log order. Raises `LedgerTampered` on the first contradiction."""

    def __init__(self, origin: str, key: VerifyingKey) -> None:
        self.origin, self.key = origin, key
        self.tree = Tree()
        self.state = LedgerState()
        self.published: Published | None = None
        self._recent: deque[Published] = deque(maxlen=RECENT)
        self._open = 0

    @property
    def closed(self) -> bool:
        """Whether the last leaf is a coverage leaf: only such a size is ever signed."""
        return self._open == 0

    def append(self, batch: LedgerBatch) -> CoverageLeaf | None:
        """Take a record of leaves; gives the coverage leaf if it closes its batch."""
        size = self.tree.size
        if batch.first_index != size:
            raise LedgerTampered(f"a batch begins at leaf {batch.first_index}, but the ledger has {size} leaves")
        coverage: CoverageLeaf | None = None
        hashes: list[bytes] = []
        for at, text in enumerate(batch.leaves):
            leaf = text.encode()
            hashes.append(leaf_hash(leaf))
            if not leaf.startswith(COVERAGE_PREFIX):
                continue
            if at != len(batch.leaves) - 1:
                raise LedgerTampered(f"leaf {size + at} is a coverage leaf in the middle of a batch")
            coverage = coverage_of(leaf)
        self._open += len(hashes)
        if coverage is not None:
            try:
                self.state = self.state.after(self._open, coverage)
            except SourceGap as gap:
                raise LedgerTampered(f"leaf {size + len(hashes) - 1} does not go on where the ledger stood: {gap}") from gap
            self._open = 0
        self.tree.extend(hashes)
        return coverage

    def publish(self, record: LedgerCheckpoint) -> Published:
        """Take a checkpoint: this log's signature over exactly the leaves that stand before it."""
        try:
            opened = open_checkpoint(record.note.encode(), self.origin, self.key)
        except TransparencyError as error:
            raise LedgerTampered(f"the checkpoint of size {record.size} is not signed by this ledger's key: {error}") from error
        checkpoint = opened.checkpoint
        if checkpoint.size > self.tree.size:
            raise LedgerTampered(f"a checkpoint covers {checkpoint.size} leaves, but the ledger has {self.tree.size}: leaves are missing")
        root = self.tree.root_at(checkpoint.size)
        if checkpoint.root != root:
            raise LedgerTampered(
                f"the {checkpoint.size} leaves of the ledger have root {root.hex()}, but their checkpoint signs {checkpoint.root.hex()}: "
                "leaves were changed after they were signed"
            )
        if self.published is None or checkpoint.size > self.published.size:
            self.published = Published(checkpoint, record.note.encode())
            self._recent.append(self.published)
        return self.published

    def checkpoint(self, size: int) -> Published | None:
        """The checkpoint of exactly this size, if it is among the recent ones."""
        return next((item for item in reversed(self._recent) if item.size == size), None)

    def unsigned(self) -> Checkpoint | None:
        """The checkpoint that may be signed now: all leaves, when they are more than the published ones and close with coverage."""
        size = self.tree.size
        if not self.closed or size == 0 or (self.published is not None and size <= self.published.size):
            return None
        return Checkpoint(self.origin, size, self.tree.root)


def coverage_of(leaf: bytes) -> CoverageLeaf:
    """Reads a coverage leaf. Raises `LedgerTampered`."""
    try:
        return CoverageLeaf.model_validate(loads(leaf))
    except (TransparencyError, ValidationError) as error:
        raise LedgerTampered(f"a coverage leaf cannot be read: {error}") from error
