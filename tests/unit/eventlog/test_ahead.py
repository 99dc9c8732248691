"""What is read ahead of an owner is taken in parts that fit, each record with what was proven of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from barecount_eventlog import Proof, Reader
from barecount_eventlog.ahead import Ahead
from barecount_eventlog.reader import Batch
from barecount_eventlog.record import Recorded

pytestmark = pytest.mark.unit

WHERE = TopicPartition("inbox", 0)


def batch(first: int, count: int) -> Batch:
    records = [Recorded("inbox", 0, first + n, datetime.now(UTC), "acme", {}, b"%d" % (first + n)) for n in range(count)]
    # a control marker stands behind the last one
    return Batch("inbox", 0, tuple(records), first, first + count + 1)


class Batches:
    """A reader that has these batches and then nothing."""

    def __init__(self, *batches: Batch) -> None:
        self._batches = list(batches)

    async def take(self, where: TopicPartition, limit: int, timeout: float | None = None) -> Batch | None:
        if not self._batches:
            await asyncio.Event().wait()
        return self._batches.pop(0)


class Prover:
    """Knows the digest of all but the last value, which is the value itself."""

    async def prove(self, values: Sequence[bytes]) -> Sequence[Proof | None]:
        return [Proof(value.decode(), True) for value in values[:-1]]


async def there(*batches: Batch) -> Ahead:
    ahead = Ahead(cast("Reader", Batches(*batches)), WHERE, 100, cast("Any", Prover()))
    await ahead.coming
    return ahead


def taken(ahead: Ahead, most: int) -> tuple[int, int, list[tuple[int, str | None]]]:
    """Start and next of a part; offset and proven digest of its records."""
    part, records = ahead.take(most)
    return part.start, part.next, [(record.offset, proof and proof.digest) for record, proof in records]


async def test_a_batch_is_taken_in_parts_that_fit_with_its_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barecount_eventlog.ahead.WORTH_PROVING", 5)
    ahead = await there(batch(10, 5), batch(16, 2))
    assert taken(ahead, 2) == (10, 12, [(10, "10"), (11, "11")])
    assert ahead.is_there
    assert taken(ahead, 1) == (12, 13, [(12, "12")])
    assert taken(ahead, 9) == (13, 16, [(13, "13"), (14, None)]), "the last part steps over the marker"
    await ahead.coming
    assert taken(ahead, 2) == (16, 19, [(16, None), (17, None)]), "too few to be worth it"
    assert not ahead.is_there
    await ahead.stop()


async def test_the_next_batch_is_under_way_while_a_part_of_the_last_one_waits() -> None:
    ahead = await there(batch(0, 3), batch(4, 1))
    taken(ahead, 1)
    await ahead.coming
    assert taken(ahead, 5) == (1, 4, [(1, None), (2, None)])
    assert taken(ahead, 5) == (4, 6, [(4, None)])
    await ahead.stop()


async def test_a_batch_without_records_moves_the_position() -> None:
    ahead = await there(batch(0, 0))
    assert taken(ahead, 1) == (0, 1, [])
    await ahead.stop()
