"""How a replay steps through a partition, over a consumer that is made up; the real one is asked in integration/eventlog/test_replay.py."""

from __future__ import annotations

from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from barecount_eventlog import KafkaSettings, LogTruncated
from barecount_eventlog import replay as module
from barecount_eventlog.replay import Stretch, replay

WHERE = TopicPartition("events", 0)
# None: a control marker, or a record of an aborted transaction
LOG: list[bytes | None] = [b"0", b"1", None, b"3", None, None, None, b"7", b"8", None, None]


class Made:
    """Serves LOG from offset `first`, at most `max_records` at a time."""

    def __init__(self, first: int) -> None:
        self.first, self.at, self.open = first, 0, False

    async def start(self) -> None:
        self.open = True

    async def stop(self) -> None:
        self.open = False

    async def beginning_offsets(self, where: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {WHERE: 2 if self.first else 0}

    async def end_offsets(self, where: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {WHERE: len(LOG)}

    def assign(self, where: list[TopicPartition]) -> None:
        assert where == [WHERE]

    def seek(self, where: TopicPartition, offset: int) -> None:
        self.at = offset

    async def getmany(self, where: TopicPartition, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        if self.at < self.first:
            raise OffsetOutOfRangeError({WHERE: self.at})
        found: list[Any] = []
        while self.at < len(LOG) and len(found) < max_records:
            if (value := LOG[self.at]) is not None:
                found.append(SimpleNamespace(offset=self.at, value=value))
            self.at += 1
        return {WHERE: found} if found else {}

    async def position(self, where: TopicPartition) -> int:
        return self.at


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    async def partitions(consumer: Any, topic: str) -> list[TopicPartition]:
        return [WHERE]

    consumer = Made(0)
    monkeypatch.setattr(module, "consumer_of", lambda kafka, name: consumer)
    monkeypatch.setattr(module, "partitions_of", partitions)
    return consumer


async def stretches(start: int) -> list[Stretch]:
    async with aclosing(replay(KafkaSettings("nowhere"), WHERE, start)) as found:
        return [stretch async for stretch in found]


@pytest.mark.parametrize("size", [1, 2, 3, 500])
@pytest.mark.parametrize("start", range(len(LOG) + 2))
async def test_every_record_comes_once_and_the_last_position_is_the_end(made: Made, size: int, start: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "STRETCH_RECORDS", size)
    found = await stretches(start)
    read = [(record.offset, record.value) for stretch in found for record in stretch.records]
    assert read == [(offset, value) for offset, value in enumerate(LOG) if value is not None and offset >= start]
    assert [stretch.next for stretch in found] == sorted({stretch.next for stretch in found}), "each one leads further"
    assert max((len(stretch.records) for stretch in found), default=0) <= size
    if start < len(LOG):
        assert found[-1].next == len(LOG)
    assert not made.open


async def test_it_begins_with_what_retention_left_and_says_when_more_went_meanwhile(made: Made) -> None:
    made.first = 2
    assert [record.offset for stretch in await stretches(0) for record in stretch.records] == [3, 7, 8]
    made.first = 3
    with pytest.raises(LogTruncated, match="events/0 does not hold all from offset 0"):
        await stretches(0)
    assert not made.open


async def test_who_breaks_off_leaves_no_consumer_behind(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRETCH_RECORDS", 1)
    async with aclosing(replay(KafkaSettings("nowhere"), WHERE, 0)) as found:
        assert (await anext(found)).next == 1
        assert made.open
    assert not made.open
