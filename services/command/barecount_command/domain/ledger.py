"""The ledger, recomputed by whom it judges: tree, coverage and run ends from the log's records alone.

The command service believes no database and no answer of the evidence service. It follows `evidence.ledger`, builds the Merkle tree
from the leaves as they stand there, and compares every checkpoint with its own root. What a checkpoint signs is what counts: coverage
and leaves behind the newest one are not used yet. A record that contradicts the ones before makes the whole copy `broken` for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from barecount_contracts import (
    ContractRef,
    CoverageLeaf,
    EvidenceRecord,
    LedgerBatch,
    LedgerCheckpoint,
    LedgerFacts,
)
from barecount_transparency import InclusionFailed, TransparencyError, Tree, leaf_hash, loads, verify_inclusion
from pydantic import ValidationError

SOURCE: Final = "runs.events"
ENDS: Final = {"RunSucceeded": "succeeded", "RunFailed": "failed", "RunCancelled": "cancelled"}
PUBLISHED: Final = "DataPartitionPublished"
# canonical JSON has no spaces: one search passes over all leaves that cannot matter
_WANTED: Final = tuple(f'"type":"{name}"' for name in (*ENDS, PUBLISHED))
_COVERAGE: Final = '{"kind":"coverage"'

Run = tuple[str, str]
"""(tenant, run id)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a leaf stands: its index in the tree, and the offset of its batch in the ledger's log."""

    index: int
    offset: int


@dataclass
class LedgerCopy:
    """Fed record by record in log order. 64 bytes a leaf, some 200 bytes a run that has ended."""

    tree: Tree = field(default_factory=Tree)
    broken: str | None = None
    signed_size: int = 0
    signed_covered: dict[int, int] = field(default_factory=dict)
    """runs.events partition to the next offset not covered, under the newest checkpoint."""
    _covered: dict[int, int] = field(default_factory=dict)
    _closed: list[tuple[int, dict[int, int]]] = field(default_factory=list)
    _ends: dict[Run, Place] = field(default_factory=dict)
    _published: dict[Run, tuple[tuple[int, str], ...]] = field(default_factory=dict)

    def batch(self, record: LedgerBatch, offset: int) -> None:
        """Takes the leaves of the ledger record at `offset`."""
        if record.first_index != self.tree.size:
            self._break(f"the batch at offset {offset} begins at leaf {record.first_index}, but {self.tree.size} stand before it")
        if self.broken:
            return
        for text in record.leaves:
            index = self.tree.append(leaf_hash(text.encode()))
            if text.startswith(_COVERAGE):
                self._cover(text, index)
            elif any(wanted in text for wanted in _WANTED):
                self._note(text, Place(index, offset))

    def checkpoint(self, record: LedgerCheckpoint) -> None:
        """Takes a signed tree head: coverage up to its size counts from now on."""
        if self.broken:
            return
        if record.size > self.tree.size:
            self._break(f"a checkpoint signs {record.size} leaves, and the log holds {self.tree.size}")
        elif self.tree.root_at(record.size).hex() != record.root:
            self._break(f"the first {record.size} leaves have another root than their checkpoint signs")
        elif record.size > self.signed_size:
            self.signed_size = record.size
            while self._closed and self._closed[0][0] <= record.size:
                self.signed_covered = self._closed.pop(0)[1]

    def unreadable(self, why: str) -> None:
        """A record that is neither a batch nor a checkpoint of this release: the copy proves nothing any more."""
        self._break(why)

    def covers(self, ends: Mapping[int, int]) -> bool:
        """Whether a signed root proves completeness of runs.events up to these ends (partition to next offset)."""
        return all(self.signed_covered.get(partition, 0) >= end for partition, end in ends.items())

    def missing(self, ends: Mapping[int, int]) -> dict[int, int]:
        """How many offsets of each partition the signed ledger does not cover yet."""
        behind = {partition: end - self.signed_covered.get(partition, 0) for partition, end in ends.items()}
        return {partition: count for partition, count in behind.items() if count > 0}

    def end_of(self, tenant: str, run_id: str) -> Place | None:
        """Where the end of a run stands, if the signed ledger holds it."""
        found = self._ends.get((tenant, run_id))
        return found if found is not None and found.index < self.signed_size else None

    def facts(self, tenant: str, run_id: str, place: Place | None, leaf: str | None) -> LedgerFacts:
        """What the signed ledger proves about a run. `leaf` is the text at `place`, read again from the log: it proves itself."""
        base: dict[str, Any] = {
            "run_id": run_id,
            "tree_size": self.signed_size,
            "root_hash": self.tree.root_at(self.signed_size).hex(),
            "covered": {str(partition): end for partition, end in sorted(self.signed_covered.items())},
            "checkpoint_verified": self.broken is None,
        }
        if self.broken is not None or place is None or leaf is None:
            return LedgerFacts(found=False, **base)
        hashed = leaf_hash(leaf.encode())
        proven = base | {"leaf_index": place.index, "leaf_hash": hashed.hex(), "inclusion_verified": self._included(hashed, place.index)}
        record = _record(leaf)
        if record is None or record.tenant != tenant or record.subject is None or record.subject.id != run_id:
            return LedgerFacts(found=True, **{**proven, "inclusion_verified": False})
        published = [name for index, name in self._published.get((tenant, run_id), ()) if index < self.signed_size]
        return LedgerFacts(found=True, published=tuple(dict.fromkeys(published)), **proven, **_run_facts(record))

    def _included(self, hashed: bytes, index: int) -> bool:
        proof = self.tree.inclusion_proof(index, self.signed_size)
        try:
            verify_inclusion(hashed, index, self.signed_size, proof, self.tree.root_at(self.signed_size))
        except InclusionFailed:
            return False
        return True

    def _cover(self, text: str, index: int) -> None:
        try:
            leaf = CoverageLeaf.model_validate(loads(text.encode()))
        except (TransparencyError, ValidationError):
            return self._break(f"leaf {index} is no coverage leaf")
        for item in leaf.ranges:
            if item.topic != SOURCE:
                continue
            before = self._covered.get(item.partition, 0)
            if item.start != before or item.next < item.start:
                return self._break(f"leaf {index}: {SOURCE}/{item.partition} is covered to {before} and goes on at {item.start}")
            self._covered[item.partition] = item.next
        self._closed.append((index + 1, dict(self._covered)))
        return None

    def _note(self, text: str, place: Place) -> None:
        record = _record(text)
        if record is None or record.source.topic != SOURCE or record.subject is None or record.subject.kind != "run":
            return
        run = (record.tenant, record.subject.id)
        if record.type in ENDS:
            # a run ends once; were there a second end, the first stays what was decided on
            self._ends.setdefault(run, place)
        elif record.type == PUBLISHED:
            name = str(record.facts.get("publication.data_partition", ""))
            self._published[run] = (*self._published.get(run, ()), (place.index, name))

    def _break(self, why: str) -> None:
        self.broken = self.broken or why


def _record(text: str) -> EvidenceRecord | None:
    try:
        return EvidenceRecord.model_validate(loads(text.encode()))
    except (TransparencyError, ValidationError):
        return None


def _run_facts(record: EvidenceRecord) -> dict[str, Any]:
    """The words of a run's end as LedgerFacts names them; what was too large for a leaf is missing."""
    facts = record.facts
    name, version = facts.get("plan.contract.name"), facts.get("plan.contract.version")
    partitions = facts.get("plan.data_partitions")
    environment, number = facts.get("plan.environment"), facts.get("plan.manifest_version")
    return {
        "pipeline": _text(facts.get("plan.pipeline")),
        "environment": environment if environment in ("dev", "staging", "prod") else None,
        "status": ENDS.get(record.type),
        "data_partitions": tuple(str(one) for one in partitions) if isinstance(partitions, list) else (),
        "contract": ContractRef(name=name, version=version) if isinstance(name, str) and isinstance(version, str) else None,
        "manifest_version": number if isinstance(number, int) else None,
        "manifest_digest": _text(facts.get("plan.manifest_digest")),
        "root_run": _text(facts.get("plan.root_run")),
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
