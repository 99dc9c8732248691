"""A batch of the ledger: one leaf a source record in source order, closed by the coverage leaf that leaves no gap.

`LedgerState` is all that the writer carries from batch to batch; it is read back from the ledger alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from barecount_contracts import CoverageLeaf, CoveredRange, LedgerBatch, Position
from barecount_transparency import CHAIN_START, canonical, extend, parse_digest
from immutables import Map

from .record import evidence_of, leaf_of

SourcePartition = tuple[str, int]
"""(topic, partition) of a source."""

PART_BYTES: Final = 900_000
"""Aim for one ledger record, far below the topic's limit: readers take a whole record into memory."""


class SourceGap(Exception):
    """Source records between the ledger's coverage and the batch are missing: nothing may be appended over the hole."""


@dataclass(frozen=True, slots=True)
class Covered:
    """One source partition up to `next` (exclusive): `count` records in all, chained to `chain` (32 bytes)."""

    next: int = 0
    count: int = 0
    chain: bytes = CHAIN_START


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Where the ledger stands: the next leaf's index and what it covers."""

    next_index: int = 0
    covered: Map[SourcePartition, Covered] = field(default_factory=Map)

    def of(self, source: SourcePartition) -> Covered:
        return self.covered.get(source, Covered())

    def after(self, leaves: int, coverage: CoverageLeaf) -> LedgerState:
        """The state when these leaves, the coverage leaf among them, are in the ledger. Raises `SourceGap`."""
        covered = self.covered
        for item in coverage.ranges:
            source = (item.topic, item.partition)
            before = self.of(source)
            if item.start != before.next or item.next < item.start:
                raise SourceGap(f"{item.topic}/{item.partition}: the ledger covers up to {before.next}, the leaf goes on at {item.start}")
            covered = covered.set(source, Covered(item.next, before.count + item.count, bytes.fromhex(item.chain)))
        return replace(self, next_index=self.next_index + leaves, covered=covered)


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A record of a source log as it was read: raw bytes, nothing interpreted."""

    position: Position
    value: bytes
    at: datetime
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Leaves to append, the coverage leaf last, and the state once they are in the log. No leaves: nothing new was read."""

    leaves: tuple[bytes, ...]
    state: LedgerState


def close(state: LedgerState, records: Sequence[SourceRecord], ranges: Mapping[SourcePartition, tuple[int, int]]) -> Batch:
    """The batch of these records; `ranges` gives the [from, next) read of each source partition, control records included.

    What the ledger covers already is passed over, so the same input after a crash changes nothing. Raises `SourceGap`.
    """
    leaves: list[bytes] = []
    heads: dict[SourcePartition, tuple[int, bytes]] = {}
    for record in records:
        source = (record.position.topic, record.position.partition)
        before = state.of(source)
        if record.position.offset < before.next:
            continue
        evidence = evidence_of(record.position, record.value, record.at, record.traceparent)
        leaves.append(leaf_of(evidence))
        count, chain = heads.get(source, (0, before.chain))
        heads[source] = (count + 1, extend(chain, parse_digest(evidence.digest)))
    covered = []
    for source, (start, end) in sorted(ranges.items()):
        before = state.of(source)
        if start > before.next:
            raise SourceGap(f"{source[0]}/{source[1]}: the ledger covers up to {before.next}, but the source was read from {start}")
        if end <= before.next:
            continue
        count, chain = heads.pop(source, (0, before.chain))
        covered.append(CoveredRange(topic=source[0], partition=source[1], start=before.next, next=end, count=count, chain=chain.hex()))
    if heads:
        raise SourceGap(f"records of {sorted(heads)} came without the range that was read")
    if not covered:
        return Batch((), state)
    coverage = CoverageLeaf(ranges=tuple(covered))
    leaves.append(canonical(coverage.model_dump(mode="json")))
    return Batch(tuple(leaves), state.after(len(leaves), coverage))


def pack(first_index: int, leaves: Sequence[bytes], max_bytes: int = PART_BYTES) -> list[LedgerBatch]:
    """The batch as ledger records in order, each of about `max_bytes` at most; only the last one closes with the coverage leaf."""
    parts: list[LedgerBatch] = []
    taken: list[str] = []
    size = 0
    for leaf in leaves:
        text = leaf.decode()
        # as a JSON string every quote and backslash takes one byte more; control characters are escaped twice
        cost = len(leaf) + text.count('"') + text.count("\\") + 3
        if taken and size + cost > max_bytes:
            parts.append(LedgerBatch(first_index=first_index, leaves=tuple(taken)))
            first_index += len(taken)
            taken, size = [], 0
        taken.append(text)
        size += cost
    if taken:
        parts.append(LedgerBatch(first_index=first_index, leaves=tuple(taken)))
    return parts
