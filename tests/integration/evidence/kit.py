"""A ledger of its own beside others on one broker: sources, writer, and the log read as a judge reads it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from barecount_contracts import Envelope, LedgerBatch, LedgerCheckpoint, RunStarted
from barecount_eventlog import Appender, KafkaSettings, read_all
from barecount_evidence.domain.ledger import Ledger
from barecount_evidence.domain.verify import Completeness, verify_completeness
from barecount_evidence.handler import LedgerWriter
from barecount_evidence.mirror import Mirror
from barecount_transparency import SigningKey

from tests.integration.eventlog.kit import create_topics, settings_of
from tests.support.forks import Forked, forked
from tests.support.servers import Kafka

KEY = SigningKey.from_seed("barecount.local/ledger", b"k" * 32)
NAMESPACE = UUID("00000000-0000-5000-8000-000000000009")


@dataclass(frozen=True)
class Place:
    """Two source topics of two partitions each, and an empty ledger."""

    kafka: KafkaSettings
    sources: tuple[str, ...]
    ledger: str
    service: str

    @classmethod
    async def create(cls, kafka: Kafka) -> Place:
        settings = settings_of(kafka)
        sources = await create_topics(settings, "source-a", "source-b", partitions=2)
        (ledger,) = await create_topics(settings, "ledger", max_message_bytes="4194304")
        return cls(settings, tuple(sources), ledger, f"evidence-{secrets.token_hex(3)}")

    @asynccontextmanager
    async def writer(self, **more: Any) -> AsyncIterator[tuple[LedgerWriter, Mirror]]:
        """A running writer with its mirror, in this process."""
        mirror = Mirror(self.kafka, self.ledger, origin=KEY.name, key=KEY.verifying_key)
        writer = LedgerWriter(self.kafka, mirror, KEY, topics=self.sources, ledger=self.ledger, service=self.service, **more)
        await mirror.start()
        await writer.start()
        try:
            yield writer, mirror
        finally:
            await writer.stop()
            await mirror.stop()

    async def process(self) -> Forked:
        """The same writer as a process, to be killed."""
        given = json.dumps(
            {
                "bootstrap": self.kafka.bootstrap, "username": self.kafka.username, "password": self.kafka.password,
                "sources": self.sources, "ledger": self.ledger, "service": self.service,
            }
        )  # fmt: skip
        return await forked("tests.integration.evidence.writer_process", given)

    async def raw(self) -> dict[tuple[str, int], list[tuple[int, bytes]]]:
        """Every source record as it stands in its log."""
        found: dict[tuple[str, int], list[tuple[int, bytes]]] = {(topic, p): [] for topic in self.sources for p in (0, 1)}
        for topic in self.sources:
            async for batch in read_all(self.kafka, topic):
                found[topic, batch.partition] += [(record.offset, record.value) for record in batch.records]
        return found

    async def read(self) -> tuple[Ledger, list[bytes], list[LedgerCheckpoint]]:
        """The ledger from its log alone, every checkpoint verified on the way; its leaves; its checkpoints."""
        ledger, leaves, checkpoints = Ledger(KEY.name, KEY.verifying_key), list[bytes](), list[LedgerCheckpoint]()
        async for batch in read_all(self.kafka, self.ledger):
            for record in batch.records:
                payload = record.payload
                if isinstance(payload, LedgerBatch):
                    ledger.append(payload)
                    leaves += [leaf.encode() for leaf in payload.leaves]
                elif isinstance(payload, LedgerCheckpoint):
                    ledger.publish(payload)
                    checkpoints.append(payload)
        return ledger, leaves, checkpoints

    async def judged(self) -> Completeness:
        _, leaves, _ = await self.read()
        return verify_completeness(leaves, await self.raw())


def event(number: int, tenant: str = "acme") -> Envelope:
    payload = RunStarted(run_id=f"run-{number}")
    identity = uuid5(NAMESPACE, str(number))
    return Envelope(id=identity, type=payload.TYPE, tenant=tenant, time=datetime.now(UTC), correlation=identity, data=payload.to_data())


async def append(appender: Appender, place: Place, numbers: range) -> None:
    """Events over all topics and keys."""
    await asyncio.gather(*(appender.append(place.sources[n % len(place.sources)], f"key-{n}", event(n)) for n in numbers))
