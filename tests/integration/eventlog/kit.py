"""Throw-away topics, a handler over them, and the log read as a judge reads it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from barecount_eventlog import Appender, Handler, KafkaSettings, Recorded, end_offsets, read_all

from tests.integration.eventlog.counter import Counter, gate
from tests.support.servers import Kafka


@dataclass
class Topics:
    kafka: KafkaSettings
    inbox: str
    events: str
    appender: Appender

    async def outcomes(self) -> list[Recorded]:
        """Index 0 of every inbox offset, in the order of the log."""
        return [event for event in await self.all_events() if event.envelope.cause is not None and event.envelope.cause.index == 0]

    async def events_before(self, offset: int) -> list[Recorded]:
        """The events before an offset, when what follows cannot be read."""
        return [record async for batch in read_all(self.kafka, self.events) for record in batch.records if record.offset < offset]

    async def all_events(self) -> list[Recorded]:
        return [record async for batch in read_all(self.kafka, self.events) for record in batch.records]


def settings_of(kafka: Kafka) -> KafkaSettings:
    given = kafka.settings("admin")
    return KafkaSettings(given["bootstrap_servers"], given["sasl_plain_username"], given["sasl_plain_password"])


def handler_of(topics: Topics, **more: Any) -> Handler[Any]:
    return Handler(kafka=topics.kafka, service="test", inbox=topics.inbox, events=topics.events, decider=Counter(), gate=gate, **more)


async def drained(handler: Handler[Any], topics: Topics, seconds: float = 30) -> None:
    """Until every inbox record has its outcome, and readers see it: a commit is answered before its marker stands in the log."""
    ends = await end_offsets(topics.kafka, topics.inbox)

    def decided() -> bool:
        assert handler.failed is None, handler.failed
        return all(owner.state.books.inbox_next >= ends[partition] for partition, owner in handler._owners.items())

    await eventually(decided, seconds)
    async with asyncio.timeout(seconds):
        while True:
            seen = await end_offsets(topics.kafka, topics.events)
            if all(seen[partition] >= owner._events_next for partition, owner in handler._owners.items()):
                return
            await asyncio.sleep(0.005)  # between two looks at the log


async def eventually(check: Callable[[], bool], seconds: float = 15) -> None:
    """Looks until it is so: what a test watches from outside has no event to wait for."""
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def create_topics(kafka: KafkaSettings, *names: str, partitions: int = 1, **config: str) -> list[str]:
    """Throw-away topics under broker time, as the product's own are. config: `max_message_bytes="100"` for `max.message.bytes`."""
    admin = AIOKafkaAdminClient(**kafka.client())
    await admin.start()
    try:
        unique = [f"{name}.{secrets.token_hex(4)}" for name in names]
        settings = {"message.timestamp.type": "LogAppendTime"} | {key.replace("_", "."): value for key, value in config.items()}
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings) for name in unique])
        # the controller answers before the broker tells others of it
        async with asyncio.timeout(30):
            while any(found["error_code"] or len(found["partitions"]) != partitions for found in await admin.describe_topics(unique)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return unique
    finally:
        await admin.close()
