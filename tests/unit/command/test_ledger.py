"""Given ledger records as the evidence service writes them, what is proven about a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from barecount_command.domain.ledger import LedgerCopy
from barecount_contracts import CoverageLeaf, CoveredRange, EvidenceRecord, LedgerBatch, LedgerCheckpoint, Position, Subject
from barecount_transparency import Tree, canonical, leaf_hash

NOBODY = UUID(int=0)
ENDS = {0: 5, 1: 2}


def record(kind: str, run: str, tenant: str = "acme", topic: str = "runs.events", **facts: Any) -> str:
    found = EvidenceRecord(
        type=kind,
        version=1,
        tenant=tenant,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        outcome="failed",
        subject=Subject(kind="run", id=run),
        facts=facts,
        digest="sha256:" + "0" * 64,
        source=Position(topic=topic, partition=0, offset=0),
        correlation=NOBODY,
    )
    return canonical(found.model_dump(mode="json", exclude_none=True)).decode()


FAILED = {
    "plan.pipeline": "revenue-kpi",
    "plan.environment": "prod",
    "plan.manifest_version": 1,
    "plan.manifest_digest": "sha256:aa",
    "plan.contract.name": "revenue-kpi",
    "plan.contract.version": "v3.2",
    "plan.data_partitions": ["2025-10-04"],
}


def coverage(**ranges: tuple[int, int]) -> str:
    """p0=(from, next) of runs.events partition 0, and so on."""
    covered = tuple(
        CoveredRange(topic="runs.events", partition=int(name[1:]), start=start, next=end, count=end - start, chain="00" * 32)
        for name, (start, end) in ranges.items()
    )
    return canonical(CoverageLeaf(ranges=covered).model_dump(mode="json")).decode()


class Log:
    """Feeds a copy as the ledger's log would, and signs honestly unless told otherwise."""

    def __init__(self) -> None:
        self.copy, self.leaves, self.offset = LedgerCopy(), list[str](), 0

    def batch(self, *leaves: str, first: int | None = None) -> Log:
        self.copy.batch(LedgerBatch(first_index=len(self.leaves) if first is None else first, leaves=leaves), self.offset)
        self.leaves += leaves
        self.offset += 1
        return self

    def signed(self, size: int | None = None, root: str | None = None) -> Log:
        size = len(self.leaves) if size is None else size
        honest = Tree(leaf_hash(leaf.encode()) for leaf in self.leaves[:size]).root.hex()
        self.copy.checkpoint(LedgerCheckpoint(size=size, root=root or honest, note="-"))
        return self

    def facts(self, run: str = "r1", tenant: str = "acme") -> Any:
        place = self.copy.end_of(tenant, run)
        return self.copy.facts(tenant, run, place, self.leaves[place.index] if place else None)


def test_coverage_that_is_not_signed_yet_does_not_count() -> None:
    log = Log().batch(record("RunFailed", "r1", **FAILED), coverage(p0=(0, 5), p1=(0, 2)))
    assert not log.copy.covers(ENDS)
    assert log.copy.missing(ENDS) == ENDS
    assert log.copy.end_of("acme", "r1") is None
    assert log.signed().copy.covers(ENDS)


def test_a_partition_that_lags_keeps_a_request_waiting() -> None:
    log = Log().batch(coverage(p0=(0, 5), p1=(0, 1))).signed()
    assert log.copy.missing(ENDS) == {1: 1}
    assert not log.copy.covers(ENDS)


def test_a_checkpoint_counts_only_as_far_as_it_signs() -> None:
    log = Log().batch(coverage(p0=(0, 3))).batch(record("RunFailed", "r1", **FAILED), coverage(p0=(3, 5), p1=(0, 2)))
    log.signed(size=1)
    assert log.copy.signed_covered == {0: 3}
    assert log.facts().found is False
    assert log.signed().facts().found is True


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda log: log.batch(coverage(p1=(0, 1)), first=7), "begins at leaf 7"),
        (lambda log: log.signed(root="00" * 32), "another root"),
        (lambda log: log.copy.checkpoint(LedgerCheckpoint(size=99, root="00" * 32, note="-")), "signs 99 leaves"),
        (lambda log: log.batch(coverage(p0=(7, 9))), "goes on at 7"),
        (lambda log: log.batch('{"kind":"coverage"}'), "no coverage leaf"),
    ],
)
def test_a_ledger_that_contradicts_itself_proves_nothing_any_more(broken: Any, says: str) -> None:
    log = Log().batch(record("RunFailed", "r1", **FAILED), coverage(p0=(0, 5), p1=(0, 2))).signed()
    assert log.facts().inclusion_verified
    broken(log)
    assert says in (log.copy.broken or "")
    facts = log.facts()
    assert (facts.found, facts.checkpoint_verified, facts.inclusion_verified) == (False, False, False)
    log.signed()
    assert says in (log.copy.broken or "")


def test_a_leaf_that_was_changed_since_it_was_read_is_not_proven() -> None:
    log = Log().batch(record("RunFailed", "r1", **FAILED), coverage(p0=(0, 5))).signed()
    place = log.copy.end_of("acme", "r1")
    facts = log.copy.facts("acme", "r1", place, record("RunFailed", "r1", **{**FAILED, "plan.contract.version": "v9.9"}))
    assert (facts.found, facts.inclusion_verified) == (True, False)


def test_another_tenants_run_is_not_found() -> None:
    log = Log().batch(record("RunFailed", "r1", tenant="globex", **FAILED), coverage(p0=(0, 5))).signed()
    assert log.facts().found is False
    assert log.facts(tenant="globex").found is True


def test_a_record_of_another_log_is_no_end_of_a_run() -> None:
    log = Log().batch(record("RunFailed", "r1", topic="lineage.events", **FAILED), coverage(p0=(0, 5))).signed()
    assert log.facts().found is False


def test_what_the_end_says_is_told_with_its_proof() -> None:
    log = Log().batch(*(record("TaskFailed", f"r{n}") for n in range(7)), coverage(p0=(0, 2)))
    log.batch(record("RunFailed", "r1", **FAILED), record("RunSucceeded", "r2", **FAILED), coverage(p0=(2, 5), p1=(0, 2))).signed()
    facts = log.facts()
    assert (facts.found, facts.inclusion_verified, facts.checkpoint_verified) == (True, True, True)
    assert (facts.status, facts.pipeline, facts.environment) == ("failed", "revenue-kpi", "prod")
    assert (facts.data_partitions, facts.manifest_version) == (("2025-10-04",), 1)
    assert facts.contract.version == "v3.2"
    assert (facts.leaf_index, facts.tree_size) == (8, 11)
    assert facts.root_hash == Tree(leaf_hash(leaf.encode()) for leaf in log.leaves).root.hex()
    assert facts.covered == {"0": 5, "1": 2}
    assert log.facts("r2").status == "succeeded"


def test_what_a_run_had_published_is_told() -> None:
    log = Log().batch(record("DataPartitionPublished", "r1", **{"publication.data_partition": "2025-10-04"}), coverage(p0=(0, 1)))
    log.batch(record("RunFailed", "r1", **FAILED), coverage(p0=(1, 5))).signed()
    assert log.facts().published == ("2025-10-04",)


def test_facts_too_large_for_a_leaf_are_missing_not_wrong() -> None:
    digests = {**FAILED, "plan.data_partitions": {"digest": "sha256:aa", "bytes": 70_000}}
    facts = Log().batch(record("RunFailed", "r1", **digests), coverage(p0=(0, 5))).signed().facts()
    assert (facts.found, facts.data_partitions) == (True, ())


def test_a_record_that_cannot_be_read_proves_nothing_and_does_not_keep_a_replay_waiting_for_ever() -> None:
    copy = LedgerCopy()
    copy.unreadable("the record at offset 3 cannot be read: no JSON")
    assert copy.broken == "the record at offset 3 cannot be read: no JSON"
