"""Batches close with coverage; a ledger reads back from its records alone; a verifier believes nobody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest
from barecount_contracts import LedgerBatch, LedgerCheckpoint, Position
from barecount_evidence.domain.batch import Batch, LedgerState, SourceGap, SourcePartition, SourceRecord, close, pack
from barecount_evidence.domain.ledger import Ledger, LedgerTampered, coverage_of
from barecount_evidence.domain.verify import verify_completeness
from barecount_transparency import CHAIN_START, Checkpoint, SigningKey, chain, leaf_hash, sign_checkpoint

AT = datetime(2025, 10, 5, 6, 0, tzinfo=UTC)
KEY = SigningKey.from_seed("barecount.local/ledger", b"1" * 32)
A: SourcePartition = ("control.events", 0)
B: SourcePartition = ("runs.events", 2)


def record(source: SourcePartition, offset: int, value: bytes | None = None) -> SourceRecord:
    return SourceRecord(Position(topic=source[0], partition=source[1], offset=offset), value or f"{source}/{offset}".encode(), AT)


def first_batch() -> Batch:
    return close(LedgerState(), [record(A, 0), record(B, 0), record(A, 2)], {A: (0, 4), B: (0, 1)})


def ledger(*batches: Sequence[bytes]) -> Ledger:
    built = Ledger(KEY.name, KEY.verifying_key)
    for leaves in batches:
        for part in pack(built.tree.size, leaves):
            built.append(part)
    return built


def signed(built: Ledger) -> LedgerCheckpoint:
    checkpoint = Checkpoint(KEY.name, built.tree.size, built.tree.root)
    return LedgerCheckpoint(size=checkpoint.size, root=checkpoint.root.hex(), note=sign_checkpoint(checkpoint, KEY).decode())


def test_a_hole_before_the_batch_is_refused() -> None:
    with pytest.raises(SourceGap, match="covers up to 4, but the source was read from 6"):
        close(first_batch().state, [record(A, 6)], {A: (6, 7)})


def test_records_without_their_range_are_refused() -> None:
    with pytest.raises(SourceGap):
        close(LedgerState(), [record(A, 0)], {})


def test_a_batch_is_the_records_in_order_closed_by_their_coverage() -> None:
    batch = first_batch()
    assert [json.loads(leaf).get("source", {}).get("offset") for leaf in batch.leaves] == [0, 0, 2, None]
    ranges = {(item.topic, item.partition): item for item in coverage_of(batch.leaves[-1]).ranges}
    assert (ranges[A].start, ranges[A].next, ranges[A].count) == (0, 4, 2)
    assert ranges[A].chain == chain(CHAIN_START, [record(A, 0).value, record(A, 2).value]).hex()
    assert (batch.state.next_index, batch.state.of(A).next, batch.state.of(B).count) == (4, 4, 1)


def test_the_same_input_again_adds_nothing() -> None:
    batch = first_batch()
    again = close(batch.state, [record(A, 0), record(B, 0), record(A, 2)], {A: (0, 4), B: (0, 1)})
    assert (again.leaves, again.state) == ((), batch.state)


def test_input_that_overlaps_adds_only_what_is_new() -> None:
    batch = close(first_batch().state, [record(A, 2), record(A, 4)], {A: (2, 5)})
    (item,) = coverage_of(batch.leaves[-1]).ranges
    assert (len(batch.leaves), item.start, item.next, item.count) == (2, 4, 5, 1)


def test_control_records_alone_are_covered_too() -> None:
    batch = close(first_batch().state, [], {A: (4, 5)})
    (item,) = coverage_of(batch.leaves[-1]).ranges
    assert (item.start, item.next, item.count, item.chain) == (4, 5, 0, first_batch().state.of(A).chain.hex())


def test_parts_stay_below_their_size_and_only_the_last_closes() -> None:
    batch = close(LedgerState(), [record(A, n) for n in range(50)], {A: (0, 50)})
    parts = pack(0, batch.leaves, max_bytes=2_000)
    assert len(parts) > 3
    assert all(len(part.model_dump_json()) < 2_500 for part in parts)
    assert [leaf for part in parts for leaf in part.leaves] == [leaf.decode() for leaf in batch.leaves]
    assert [part.first_index for part in parts][1] == len(parts[0].leaves)


def test_a_ledger_reads_back_to_the_state_that_wrote_it() -> None:
    first = first_batch()
    second = close(first.state, [record(B, 5)], {B: (1, 6)})
    built = ledger(first.leaves, second.leaves)
    assert built.state == second.state
    assert built.tree.size == 6
    assert built.tree.leaf(5) == leaf_hash(second.leaves[-1])


def test_a_batch_at_the_wrong_index_is_noticed() -> None:
    with pytest.raises(LedgerTampered, match="begins at leaf 9"):
        ledger().append(LedgerBatch(first_index=9, leaves=("{}",)))


def test_a_batch_that_leaves_a_hole_is_noticed() -> None:
    later = close(first_batch().state, [record(A, 4)], {A: (4, 5)})
    with pytest.raises(LedgerTampered, match="does not go on"):
        ledger(later.leaves)


def test_nothing_is_signed_while_a_batch_is_open() -> None:
    built = ledger()
    parts = pack(0, first_batch().leaves, max_bytes=1)
    built.append(parts[0])
    assert built.unsigned() is None


def test_a_changed_leaf_is_noticed_under_its_checkpoint() -> None:
    batch = first_batch()
    checkpoint = signed(ledger(batch.leaves))
    changed = ledger([batch.leaves[0].replace(b"control.events", b"control.event5"), *batch.leaves[1:]])
    with pytest.raises(LedgerTampered, match="changed after they were signed"):
        changed.publish(checkpoint)


def test_missing_leaves_are_noticed_under_their_checkpoint() -> None:
    checkpoint = signed(ledger(first_batch().leaves))
    with pytest.raises(LedgerTampered, match="leaves are missing"):
        ledger().publish(checkpoint)


def test_another_keys_checkpoint_is_noticed() -> None:
    built = ledger(first_batch().leaves)
    other = SigningKey.from_seed(KEY.name, b"2" * 32)
    checkpoint = Checkpoint(KEY.name, built.tree.size, built.tree.root)
    note = sign_checkpoint(checkpoint, other).decode()
    with pytest.raises(LedgerTampered, match="not signed by this ledger's key"):
        built.publish(LedgerCheckpoint(size=checkpoint.size, root=checkpoint.root.hex(), note=note))


def test_a_checkpoint_is_wanted_once_for_what_it_covers() -> None:
    built = ledger(first_batch().leaves)
    wanted = built.unsigned()
    assert wanted is not None
    assert (wanted.size, wanted.root) == (4, built.tree.root)
    assert built.publish(signed(built)).size == 4
    assert built.unsigned() is None


def all_leaves(seed: int = 1, count: int = 40) -> tuple[list[bytes], dict[SourcePartition, list[tuple[int, bytes]]]]:
    """A ledger over two sources with control records between, in batches cut at random."""
    random, state, leaves = Random(seed), LedgerState(), list[bytes]()
    raw: dict[SourcePartition, list[tuple[int, bytes]]] = {A: [], B: []}
    while sum(map(len, raw.values())) < count:
        source = random.choice([A, B])
        start = state.of(source).next
        records = [record(source, start + n) for n in range(random.randint(0, 5))]
        batch = close(state, records, {source: (start, start + len(records) + random.randint(0, 2))})
        raw[source] += [(item.position.offset, item.value) for item in records]
        leaves += batch.leaves
        state = batch.state
    return leaves, raw


@pytest.mark.parametrize("seed", range(5))
def test_a_whole_ledger_is_complete(seed: int) -> None:
    leaves, raw = all_leaves(seed)
    result = verify_completeness(leaves, raw)
    assert (result.findings, result.leaves) == ((), len(leaves))
    assert sum(item.count for item in result.covered.values()) == sum(map(len, raw.values()))


def test_a_source_record_that_the_ledger_left_out_is_found() -> None:
    leaves, raw = all_leaves()
    raw[A].insert(3, (raw[A][2][0], b"never recorded"))
    assert not verify_completeness(leaves, raw).holds


def test_a_source_record_behind_the_last_leaf_but_inside_the_coverage_is_found() -> None:
    batch = close(LedgerState(), [record(A, 0)], {A: (0, 3)})
    (finding,) = verify_completeness(batch.leaves, {A: [(0, record(A, 0).value), (2, b"hidden")]}).findings
    assert "offset 2 is said to be covered and has no leaf" in finding.what


def test_a_source_record_that_was_changed_is_found() -> None:
    leaves, raw = all_leaves()
    raw[B][1] = (raw[B][1][0], b"other bytes")
    assert any("its bytes differ" in item.what for item in verify_completeness(leaves, raw).findings)


def test_a_leaf_taken_out_is_found_without_the_sources() -> None:
    leaves, _ = all_leaves()
    del leaves[next(at for at, leaf in enumerate(leaves) if b'"kind":"record"' in leaf)]
    assert not verify_completeness(leaves, {}).holds


def test_two_swapped_leaves_are_found_without_the_sources() -> None:
    batch = close(LedgerState(), [record(A, 0), record(A, 1)], {A: (0, 2)})
    swapped = [batch.leaves[1], batch.leaves[0], batch.leaves[2]]
    assert not verify_completeness(swapped, {}).holds


def test_leaves_behind_the_last_coverage_leaf_are_not_complete_but_not_wrong() -> None:
    leaves, raw = all_leaves()
    open_end = leaves + list(close(replace(LedgerState(), next_index=len(leaves)), [record(("x", 0), 0)], {("x", 0): (0, 1)}).leaves[:1])
    assert verify_completeness(open_end, raw).holds
