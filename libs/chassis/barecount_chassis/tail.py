"""Reading one partition from a position that is fixed before anybody is told: how a worker follows its tasks.

On aiokafka directly: FastStream can neither start at an offset nor say that the position is fixed before it reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaClient, AIOKafkaConsumer, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError

from . import telemetry
from .ending import close
from .record import Record, record_of


class ReaderError(RuntimeError):
    """A reader that cannot start or go on; the message says why and what to do."""


class Tail:
    """One partition from a fixed position on, without a group: `async for record in tail`. Ends when `stop` is called."""

    def __init__(self, consumer: AIOKafkaConsumer, tp: TopicPartition, start: int) -> None:
        self._consumer, self._tp = consumer, tp
        self.start = start

    ready = True
    failed: Exception | None = None

    def __aiter__(self) -> Tail:
        return self

    async def __anext__(self) -> Record:
        while True:
            try:
                return record_of(await self._consumer.getone())
            except ConsumerStoppedError as error:
                raise StopAsyncIteration from error
            except KafkaError as error:
                # brokers come back; a record that cannot be read (say, for want of permission) is not passed over
                telemetry.logger().warning(telemetry.READER_RETRY, reader=f"tail of {self._tp}", error=repr(error))
                await asyncio.sleep(1)  # the client has no event for "a broker answers again"

    def lag(self) -> dict[tuple[str, int], int]:
        stable, position = self._consumer.last_stable_offset(self._tp), position_of(self._consumer, self._tp)
        return {(self._tp.topic, self._tp.partition): max(0, stable - position)} if stable is not None and position is not None else {}

    async def stop(self) -> None:
        await close(self._consumer.stop(), f"tail of {self._tp}")


async def tail_partition(kafka: Mapping[str, str | None], topic: str, partition: int, *, client_id: str, start: int | None = None) -> Tail:
    """A tail whose position is fixed when this returns: `start`, or the end of what is committed now.

    Raises: ReaderError when the topic is missing, KafkaError when no broker answers.
    """
    await require_topics(kafka, [topic])
    tp = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        **client_of(kafka),
        client_id=client_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    try:
        consumer.assign([tp])
        await consumer.start()
        if start is None:
            start = (await consumer.end_offsets([tp]))[tp]
        consumer.seek(tp, start)
    except BaseException:
        await close(consumer.stop(), client_id)
        raise
    return Tail(consumer, tp, start)


async def require_topics(kafka: Mapping[str, str | None], topics: Sequence[str]) -> None:
    """Asks for all topics, which creates none. Raises: ReaderError naming those that are missing."""
    client = AIOKafkaClient(**client_of(kafka))
    try:
        await client.bootstrap()
        missing = set(topics) - (await client.fetch_all_metadata()).topics()
    finally:
        await close(client.close(), "probe of topics")
    if missing:
        raise ReaderError(f"no topic {', '.join(sorted(missing))}, or no permission to read: create the topics of contracts/topics.yaml")


def client_of(kafka: Mapping[str, str | None]) -> dict[str, Any]:
    found: dict[str, Any] = {"bootstrap_servers": kafka["bootstrap"]}
    if kafka.get("username"):
        found |= {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_plain_username": kafka["username"],
            "sasl_plain_password": kafka["password"],
        }
    return found


def position_of(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int | None:
    """The next offset to be read, markers stepped over. `consumer.position` is the same, but waits when there is none yet."""
    assignment = consumer._subscription.subscription and consumer._subscription.subscription.assignment
    if assignment is None or tp not in assignment.tps:
        return None
    state = assignment.state_value(tp)
    return state.position if state is not None and state.has_valid_position else None
