"""Source positions as they ride in a header of every derived record.

Kafka forgets a group's offsets 7 days after the last commit (trap 19); the log does not forget. So the last committed record of every
output partition tells where its writer stood.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from aiokafka import TopicPartition

from .reader import beginning_offsets, end_offsets, read_all
from .settings import KafkaSettings

HEADER: Final = "source-positions"
_FIRST_LOOK: Final = 64


def encode(positions: Mapping[TopicPartition, int]) -> bytes:
    topics: dict[str, dict[str, int]] = {}
    for where, offset in sorted(positions.items()):
        topics.setdefault(where.topic, {})[str(where.partition)] = offset
    return json.dumps(topics, separators=(",", ":")).encode()


def decode(value: bytes) -> dict[TopicPartition, int]:
    return {TopicPartition(t, int(p)): int(o) for t, row in json.loads(value).items() for p, o in row.items()}


async def last_written(kafka: KafkaSettings, output: str) -> dict[TopicPartition, int]:
    """The newest source positions that committed records of a topic name; call it after the fence."""
    first, ends = await beginning_offsets(kafka, output), await end_offsets(kafka, output)
    newest: dict[TopicPartition, int] = {}
    for partition, end in ends.items():
        for where, offset in (await _last_of(kafka, output, partition, first[partition], end)).items():
            newest[where] = max(offset, newest.get(where, 0))
    return newest


async def _last_of(kafka: KafkaSettings, output: str, partition: int, first: int, end: int) -> dict[TopicPartition, int]:
    """Looks back from the end, twice as far each time: markers and aborted records may lie between."""
    back = _FIRST_LOOK
    while end > first:
        start = max(first, end - back)
        found: bytes | None = None
        async for batch in read_all(kafka, output, [partition], {partition: start}):
            for record in batch.records:
                found = record.headers.get(HEADER, found)
        if found is not None:
            return decode(found)
        if start == first:
            break
        back *= 4
    return {}
