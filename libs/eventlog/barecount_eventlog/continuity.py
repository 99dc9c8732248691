"""Whether a log still is the one that somebody's positions came from: the cluster, the ends, and the newest record that was taken.

Positions that are kept outside of Kafka outlive a restore of Kafka. Three things give the other log away: another cluster id, an end before
the position, and another record at the offset of the newest one that was taken (the restored log has grown past the position since).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.protocol.metadata import MetadataRequest

from .errors import LogReplaced
from .reader import Probe, Reader, partitions_of
from .settings import KafkaSettings

DIGEST_BYTES: Final = 16
# a record that stands before the log's end is served at once; a log that does not serve it is away, which is another error
READ_SECONDS: Final = 30.0
SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest record that was taken. digest: the first 16 bytes of the SHA-256 of its value."""

    offset: int
    digest: bytes

    @classmethod
    def of(cls, offset: int, value: bytes) -> Mark:
        return cls(offset, hashlib.sha256(value).digest()[:DIGEST_BYTES])


@dataclass(frozen=True, slots=True)
class Held:
    """A position kept outside of the log. next: the first offset not taken yet. cluster, mark: None when they were not kept."""

    where: TopicPartition
    next: int
    cluster: str | None = None
    mark: Mark | None = None


async def cluster_of(kafka: KafkaSettings) -> str:
    """The id that Kafka's storage was formatted with."""
    async with Probe(kafka) as consumer:
        return await _cluster(consumer)


async def demand_same_log(kafka: KafkaSettings, held: Iterable[Held], *, holder: str, remedy: str) -> str:
    """Returns the cluster's id. holder: whose positions these are, remedy: what may be done besides putting the newer log back.

    Raises: LogReplaced naming each partition with both numbers; TopicMissing, KafkaError.
    """
    taken = [one for one in held if one.next > 0]
    async with Probe(kafka) as consumer:
        here = await _cluster(consumer)
        others = sorted({one.cluster for one in taken if one.cluster is not None} - {here})
        if others:
            raise LogReplaced(_told(holder, [f"it was made from Kafka cluster {', '.join(others)}, and this is {here}"], remedy))
        standing = [where for topic in {one.where.topic for one in taken} for where in await partitions_of(consumer, topic)]
        first, ends = await consumer.beginning_offsets(standing), await consumer.end_offsets(standing)
    beyond = [
        f"{one.where.topic}/{one.where.partition}: it stands at {one.next}, the log ends at {ends.get(one.where, 0)}"
        for one in taken
        if one.next > ends.get(one.where, 0)
    ]
    if beyond:
        raise LogReplaced(_told(holder, beyond, remedy))
    # what retention took cannot be compared any more
    marks = {one.where: one.mark for one in taken if one.mark is not None and one.mark.offset >= first[one.where]}
    changed = [
        f"{where.topic}/{where.partition}: at offset {mark.offset} stands another record than it took from there"
        for where, mark in (await _different(kafka, marks)).items()
    ]
    if changed:
        raise LogReplaced(_told(holder, changed, remedy))
    return here


async def _cluster(consumer: AIOKafkaConsumer) -> str:
    client: Any = consumer._client
    answer: Any = await client.send(client.get_random_node(), MetadataRequest([]))
    return str(answer.cluster_id)


async def _different(kafka: KafkaSettings, marks: Mapping[TopicPartition, Mark]) -> dict[TopicPartition, Mark]:
    if not marks:
        return {}
    found: dict[TopicPartition, Mark] = {}
    start = {where: mark.offset for where, mark in marks.items()}
    async with asyncio.timeout(READ_SECONDS), Reader(kafka, start, client_id="probe.marks", max_wait_ms=50) as reader:
        for where, mark in marks.items():
            batch = await reader.take(where, 1)
            record = batch.records[0] if batch is not None and batch.records else None
            if record is None or Mark.of(record.offset, record.value) != mark:
                found[where] = mark
    return found


def _told(holder: str, differences: Sequence[str], remedy: str) -> str:
    more = f"; and {len(differences) - SHOWN} more partitions" if len(differences) > SHOWN else ""
    return (
        f"{holder} comes from another log than Kafka holds now: {'; '.join(differences[:SHOWN])}{more}. "
        f"Kafka was restored from an older copy, or begun anew. Nothing is read or decided until the newer log is put back, or {remedy} "
        "(docs/backup-and-restore.md)."
    )
