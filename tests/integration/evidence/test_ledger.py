"""The ledger on a real broker: complete, signed, continued after kills, and refused when it was tampered with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from random import Random

import pytest
from barecount_contracts import LedgerBatch, LedgerCheckpoint
from barecount_eventlog import Appender, CodeFault, FencedWriter, OutRecord, end_offsets, read_all
from barecount_evidence.domain.ledger import LedgerTampered
from barecount_evidence.mirror import Mirror
from barecount_transparency import leaf_hash, open_checkpoint, verify_consistency, verify_inclusion

from tests.integration.evidence.kit import KEY, Place, append, event
from tests.support.servers import Kafka

pytestmark = pytest.mark.integration


@pytest.fixture
async def place(kafka: Kafka) -> Place:
    return await Place.create(kafka)


@pytest.fixture
async def appender(place: Place) -> AsyncIterator[Appender]:
    running = Appender(place.kafka, "test")
    await running.start()
    yield running
    await running.stop()


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await check():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {check.__qualname__}")
        await asyncio.sleep(0.05)


async def covered_to_the_end(place: Place, mirror: Mirror) -> bool:
    """Whether a published checkpoint covers every source up to its end, control records included."""
    ledger = mirror.ledger
    ends = {(topic, p): end for topic in place.sources for p, end in (await end_offsets(place.kafka, topic)).items()}
    published = ledger.published.size if ledger.published is not None else 0
    return published == ledger.tree.size and all(ledger.state.of(source).next >= end for source, end in ends.items())


async def test_every_source_record_is_one_leaf_under_a_signed_checkpoint(place: Place, appender: Appender) -> None:
    async with place.writer() as (_, mirror):
        await append(appender, place, range(50))
        await until(lambda: covered_to_the_end(place, mirror))
        await append(appender, place, range(50, 300))
        await until(lambda: covered_to_the_end(place, mirror))
    judged = await place.judged()
    assert judged.findings == ()
    assert sum(item.count for item in judged.covered.values()) == 300
    ledger, leaves, checkpoints = await place.read()
    newest = open_checkpoint(checkpoints[-1].note.encode(), KEY.name, KEY.verifying_key).checkpoint
    assert newest.size == len(leaves)
    proof = ledger.tree.inclusion_proof(17, newest.size)
    verify_inclusion(leaf_hash(leaves[17]), 17, newest.size, proof, newest.root)


async def test_every_older_checkpoint_is_continued_by_the_newer_ones(place: Place, appender: Appender) -> None:
    async with place.writer() as (_, mirror):
        for start in range(0, 60, 10):
            await append(appender, place, range(start, start + 10))
            await until(lambda: covered_to_the_end(place, mirror))
    ledger, _, checkpoints = await place.read()
    assert len(checkpoints) >= 6
    for old, new in pairwise(checkpoints):
        proof = ledger.tree.consistency_proof(old.size, new.size)
        verify_consistency(old.size, new.size, bytes.fromhex(old.root), bytes.fromhex(new.root), proof)


async def test_what_is_no_envelope_is_in_the_ledger_too(place: Place, appender: Appender) -> None:
    async with place.writer() as (_, mirror):
        await appender.append_bytes(place.sources[0], "k", b"\xff not json", ())
        await until(lambda: covered_to_the_end(place, mirror))
    _, leaves, _ = await place.read()
    assert b'"type":"unreadable"' in leaves[0]
    assert (await place.judged()).holds


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_kills_in_mid_stream_lose_nothing_and_record_nothing_twice(place: Place, appender: Appender, seed: int) -> None:
    random, count = Random(seed), 4_000
    stream = asyncio.create_task(_stream(appender, place, count))
    for _ in range(4):
        process = await place.process()
        before = (await end_offsets(place.kafka, place.ledger))[0]
        # killed once it writes, at some moment of its work
        await until(lambda before=before: _grew(place, before))
        await asyncio.sleep(random.uniform(0, 0.4))
        process.kill()
        await process.wait()
    await stream
    async with place.writer() as (_, mirror):
        await until(lambda: covered_to_the_end(place, mirror))
    judged = await place.judged()
    assert judged.findings == ()
    assert sum(item.count for item in judged.covered.values()) == count


async def _stream(appender: Appender, place: Place, count: int) -> None:
    for start in range(0, count, 20):
        await append(appender, place, range(start, start + 20))
        await asyncio.sleep(0.03)


async def _grew(place: Place, before: int) -> bool:
    return (await end_offsets(place.kafka, place.ledger))[0] > before + 3


async def test_a_second_writer_takes_over_and_the_first_writes_nothing_more(place: Place, appender: Appender) -> None:
    async with place.writer() as (_, first):
        await append(appender, place, range(20))
        await until(lambda: covered_to_the_end(place, first))
        async with place.writer() as (_, second):
            await append(appender, place, range(20, 60))
            await until(lambda: covered_to_the_end(place, second))
    assert (await place.judged()).holds


@pytest.mark.parametrize("what", ["a changed leaf", "a lost batch", "a forged checkpoint"])
async def test_a_tampered_ledger_is_refused_at_start(place: Place, kafka: Kafka, appender: Appender, what: str) -> None:
    async with place.writer() as (_, mirror):
        for start in range(0, 30, 10):
            await append(appender, place, range(start, start + 10))
            await until(lambda: covered_to_the_end(place, mirror))
    # what an attacker with the disk could do: the same log, with one thing changed
    other = await Place.create(kafka)
    await _copied(place, other, appender, what)
    broken = Place(place.kafka, place.sources, other.ledger, other.service)
    async with broken.writer() as (writer, mirror):
        assert isinstance(mirror.tampered, LedgerTampered)
        assert isinstance(writer.deriver.failed, CodeFault)
        before = (await end_offsets(place.kafka, broken.ledger))[0]
        await append(appender, place, range(100, 110))
        await asyncio.sleep(0.5)
        assert (await end_offsets(place.kafka, broken.ledger))[0] == before, "nothing is appended or signed over it"


async def _copied(place: Place, other: Place, appender: Appender, what: str) -> None:
    taken = 0
    async for batch in read_all(place.kafka, place.ledger):
        for record in batch.records:
            payload, envelope = record.payload, record.whole()
            if isinstance(payload, LedgerBatch):
                taken += 1
                if what == "a lost batch" and taken == 2:
                    continue
                if what == "a changed leaf" and taken == 1:
                    leaves = (payload.leaves[0].replace('"acme"', '"bcme"'), *payload.leaves[1:])
                    envelope = envelope.model_copy(update={"data": payload.model_copy(update={"leaves": leaves}).to_data()})
            if isinstance(payload, LedgerCheckpoint) and what == "a forged checkpoint":
                forged = payload.model_copy(update={"note": payload.note[:-6] + "AAAA=\n"})
                envelope = envelope.model_copy(update={"data": forged.to_data()})
            out = OutRecord(key="ledger", value=envelope.to_bytes(), headers=tuple(record.headers.items()))
            await appender.append_bytes(other.ledger, "ledger", out.value, out.headers)


async def test_a_lone_event_is_under_a_checkpoint_within_a_tenth_of_a_second(place: Place, appender: Appender) -> None:
    taken: list[float] = []
    async with place.writer() as (_, mirror):
        for number in range(60):
            sized = mirror.ledger.tree.size
            started = time.perf_counter()
            await appender.append(place.sources[0], "k", event(number))
            while mirror.ledger.published is None or mirror.ledger.published.size <= sized:
                mirror._moved.clear()
                await mirror._moved.wait()
            taken.append(time.perf_counter() - started)
    taken.sort()
    p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    print(f"append to covering checkpoint: p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")  # noqa: T201
    assert p50 < 0.1


async def test_coverage_steps_over_the_markers_of_transactions(place: Place) -> None:
    """A replay's validation waits until the ledger reaches a log's end as Kafka tells it, and that end counts control records."""
    source = FencedWriter(place.kafka, f"{place.service}.source", group=f"{place.service}.source")
    await source.open()
    try:
        async with place.writer() as (_, mirror):
            for number in range(5):
                record = OutRecord(key="k", value=event(number).to_bytes(), partition=0, topic=place.sources[0])
                await source.commit([record], {})
                await until(lambda: covered_to_the_end(place, mirror), seconds=10)
    finally:
        await source.close()
    assert (await place.judged()).holds
