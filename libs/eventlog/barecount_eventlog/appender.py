"""Appends to inboxes and to api.calls: acknowledged by all replicas, idempotent, never transactional."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from barecount_contracts import Envelope, Position, murmur2

from .errors import AppendFailed
from .metrics import APPEND_FAILED, APPEND_SECONDS, APPENDED
from .record import Headers
from .settings import KafkaSettings
from .tracing import current
from .writer import START_SECONDS, close_producer

APPEND_TIMEOUT = 10.0

log = structlog.get_logger(__name__)


class Appender:
    """One per process. Safe for concurrent use; records of one caller and key keep their order when each waits for the one before."""

    def __init__(self, kafka: KafkaSettings, client_id: str, *, timeout: float = APPEND_TIMEOUT, max_bytes: int = 1_048_576) -> None:
        self._kafka, self._client_id, self._timeout, self._max_bytes = kafka, client_id, timeout, max_bytes
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()

    async def start(self) -> None:
        """Raises: AppendFailed when no broker answers in 30 s."""
        await self._open(None)

    async def stop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer)

    async def append(
        self, topic: str, key: str, envelope: Envelope, *, partition: int | None = None, timeout: float | None = None
    ) -> Position:
        """Appends an envelope and returns its place once the broker has acknowledged it. partition: None = murmur2(key) mod N.

        Raises: AppendFailed; the record may still arrive, so repeat it under the same id.
        """
        headers = [("type", envelope.type.encode()), ("content-type", b"application/json"), *current()]
        return await self.append_bytes(topic, key.encode(), envelope.to_bytes(), headers, partition=partition, timeout=timeout)

    async def append_bytes(
        self,
        topic: str,
        key: bytes | str | None,
        value: bytes | None,
        headers: Headers = (),
        *,
        partition: int | None = None,
        timeout: float | None = None,
    ) -> Position:
        """The same for bytes that are no envelope."""
        metadata = await self._send(topic, key.encode() if isinstance(key, str) else key, value, headers, partition, timeout)
        return Position(topic=metadata.topic, partition=metadata.partition, offset=metadata.offset)

    async def append_timed(self, topic: str, key: str, envelope: Envelope, partition: int) -> tuple[Position, int]:
        """As append, with the broker's timestamp of the record in ms."""
        headers = [("type", envelope.type.encode()), ("content-type", b"application/json")]
        metadata = await self._send(topic, key.encode(), envelope.to_bytes(), headers, partition, None)
        return Position(topic=metadata.topic, partition=metadata.partition, offset=metadata.offset), metadata.timestamp

    async def _send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, partition: int | None, timeout: float | None
    ) -> Any:
        started = time.perf_counter()
        producer = self._producer
        if producer is None:
            raise AppendFailed(f"{self._client_id} is not started")
        try:
            async with asyncio.timeout(timeout or self._timeout):
                if partition is None and key is not None:
                    partition = murmur2(key) % len(await producer.partitions_for(topic))
                future = await producer.send(topic, value, key=key, partition=partition, headers=list(headers))
                # the record is on its way: a timeout here must not cancel aiokafka's own future
                metadata = await asyncio.shield(future)
        except TimeoutError as error:
            APPEND_FAILED.labels(client=self._client_id, topic=topic).inc()
            raise AppendFailed(
                f"{topic} did not acknowledge in {timeout or self._timeout:g} s; it may still arrive: send it again under the same id"
            ) from error
        except Exception as error:
            APPEND_FAILED.labels(client=self._client_id, topic=topic).inc()
            await self._replace(producer, error)
            raise AppendFailed(f"{topic}: {error!r}") from error
        APPENDED.labels(client=self._client_id, topic=topic).inc()
        APPEND_SECONDS.labels(client=self._client_id, topic=topic).observe(time.perf_counter() - started)
        return metadata

    async def _replace(self, broken: AIOKafkaProducer, error: Exception) -> None:
        """A producer whose sender has died never sends again; a refused record alone does not hurt it."""
        sender = broken._sender.sender_task
        if sender is None or not sender.done() or self._producer is not broken:
            return
        log.warning("appender-replaced", client=self._client_id, error=repr(error))
        await self._open(broken)

    async def _open(self, instead_of: AIOKafkaProducer | None) -> None:
        async with self._opening:
            if self._producer is not instead_of:
                return
            producer = AIOKafkaProducer(
                **self._kafka.client(),
                client_id=self._client_id,
                acks="all",
                enable_idempotence=True,
                compression_type="zstd",
                max_request_size=self._max_bytes,
                retry_backoff_ms=50,
                request_timeout_ms=10_000,
            )
            try:
                async with asyncio.timeout(START_SECONDS):
                    await producer.start()
            except Exception as error:
                await close_producer(producer)
                raise AppendFailed(f"{self._client_id}: no broker answers: {error!r}") from error
            self._producer = producer
        if instead_of is not None:
            await close_producer(instead_of)
