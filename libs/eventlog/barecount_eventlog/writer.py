"""The fenced writer: K transactional producers of one name, used in turn, one transaction at a time.

Why in turn: after a commit the coordinator still writes markers and answers the same id CONCURRENT_TRANSACTIONS, at least 20 ms of backoff
(reference/kafka-recipes.md §1.5.1). Why it stays right: `open` starts all K, so InitProducerId settles or aborts whatever an earlier owner
had open on any of them and fences it, before anybody reads the log (KIP-98).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, NotEnoughReplicasError, ProducerFenced
from barecount_contracts import murmur2

from .ending import close
from .errors import WriterBroken, WriterFenced
from .metrics import NOT_ENOUGH_REPLICAS, TRANSACTION_BROKEN, TRANSACTION_SECONDS
from .record import OutRecord
from .settings import KafkaSettings

WIDTH: Final = 3
START_SECONDS: Final = 30.0
COMMIT_SECONDS: Final = 60.0
STOP_SECONDS: Final = 3.0
# one produce request carries a whole transaction's records of a partition; the broker's limit is 1 MiB after compression
MAX_BATCH_BYTES: Final = 900_000


def _counted_instead(entry: logging.LogRecord) -> bool:
    """Kafka 4 answers NOT_ENOUGH_REPLICAS for a moment at the beginning of a transaction (trap 11): aiokafka retries, so it is counted."""
    if NotEnoughReplicasError not in (entry.args or ()):
        return True
    NOT_ENOUGH_REPLICAS.inc()
    return False


logging.getLogger("aiokafka.producer.sender").addFilter(_counted_instead)


class FencedWriter:
    """name: a pure function of what it owns, `<service>.<inbox>.<partition>`; the ids are `<name>.0..2`. group: holds the positions."""

    def __init__(self, kafka: KafkaSettings, name: str, *, group: str, width: int = WIDTH, transaction_timeout: float = 15.0) -> None:
        self._kafka, self._name, self._group, self._width = kafka, name, group, width
        self._timeout_ms = int(transaction_timeout * 1000)
        self._producers: list[AIOKafkaProducer] = []
        self._turn = 0
        self._metric = TRANSACTION_SECONDS.labels(writer=name.rsplit(".", 1)[0])

    async def open(self) -> None:
        """Fences every earlier writer of this name and settles its transactions.

        Raises: WriterBroken when a producer does not start in 30 s. Every failed open leaves nothing running.
        """
        self._producers = [self._producer(turn) for turn in range(self._width)]
        starts = [asyncio.wait_for(producer.start(), START_SECONDS) for producer in self._producers]
        failed = [r for r in await asyncio.gather(*starts, return_exceptions=True) if isinstance(r, BaseException)]
        if failed:
            await self.close()
            if isinstance(failed[0], asyncio.CancelledError):
                raise failed[0]
            raise WriterBroken(f"{self._name}: a producer did not start: {failed[0]!r}") from failed[0]

    async def commit(self, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Writes records and input positions in one transaction and returns, per output partition, the offset after its last record.

        Cancelling waits for the commit's end first, because a commit cannot be taken back.
        Raises: WriterFenced, WriterBroken; both close the writer and say nothing about what the log holds.
        """
        work = asyncio.ensure_future(self._transact(records, positions))
        try:
            done, _ = await asyncio.wait({work}, timeout=COMMIT_SECONDS)
        except asyncio.CancelledError:
            await asyncio.wait({work}, timeout=STOP_SECONDS)
            if work.done() and not work.cancelled():
                work.exception()
            raise
        if not done:
            work.add_done_callback(lambda task: task.cancelled() or task.exception())
            await self._break(TimeoutError(f"no end of the transaction in {COMMIT_SECONDS:g} s"))
        try:
            return work.result()
        except Exception as error:
            await self._break(error)
            raise AssertionError("unreachable") from error

    async def close(self) -> None:
        """Stops every producer; an open transaction is left to the next InitProducerId or the broker's timeout."""
        producers, self._producers = self._producers, []
        await asyncio.gather(*(close_producer(producer) for producer in producers))

    async def _transact(self, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        if not self._producers:
            raise WriterBroken(f"{self._name} is closed")
        producer = self._producers[self._turn]
        self._turn = (self._turn + 1) % len(self._producers)
        started = time.perf_counter()
        await producer.begin_transaction()
        sent = await self._send(producer, records)
        # a failed batch does not fail aiokafka's commit: every single one is looked at before (trap 1)
        results = await asyncio.gather(*(future for _, _, future in sent), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        after: dict[TopicPartition, int] = {}
        for (where, count, _), metadata in zip(sent, results, strict=True):
            assert not isinstance(metadata, BaseException)
            if metadata is None or metadata.offset < 0:
                raise WriterBroken(f"{self._name}: the broker holds a batch of {where.topic}/{where.partition} but cannot say where")
            after[where] = max(after.get(where, 0), metadata.offset + count)
        # after the records: an AddOffsetsToTxn under way makes the broker refuse a produce as NOT_ENOUGH_REPLICAS (traps 11, 12)
        if positions:
            await producer.send_offsets_to_transaction(dict(positions), self._group)
        await producer.commit_transaction()
        self._metric.observe(time.perf_counter() - started)
        return after

    async def _send(self, producer: AIOKafkaProducer, records: Sequence[OutRecord]) -> list[tuple[TopicPartition, int, asyncio.Future]]:  # type: ignore[type-arg]
        by_partition: dict[TopicPartition, list[OutRecord]] = {}
        counts: dict[str, int] = {}
        for record in records:
            assert record.topic is not None
            partition = record.partition
            if partition is None:
                if record.topic not in counts:
                    counts[record.topic] = len(await producer.partitions_for(record.topic))
                partition = murmur2(record.key_bytes or b"") % counts[record.topic]
            by_partition.setdefault(TopicPartition(record.topic, partition), []).append(record)
        sent = []
        # one future a batch instead of one a record
        for where, group in by_partition.items():
            batch = producer.create_batch()
            for record in group:
                if not _append(batch, record):
                    sent.append((where, batch.record_count(), await producer.send_batch(batch, where.topic, partition=where.partition)))
                    batch = producer.create_batch()
                    _append(batch, record)
            sent.append((where, batch.record_count(), await producer.send_batch(batch, where.topic, partition=where.partition)))
        return sent

    async def _break(self, error: BaseException) -> None:
        """Closes everything: after any failure sequence numbers and state are not to be trusted (traps 2, 3, 5, 13)."""
        TRANSACTION_BROKEN.labels(writer=self._name.rsplit(".", 1)[0], error=type(error).__name__).inc()
        await self.close()
        if isinstance(error, WriterBroken):
            raise error
        if isinstance(error, (ProducerFenced, InvalidProducerEpoch)):
            raise WriterFenced(f"{self._name}: another owner took over, or the broker ended the transaction by timeout") from error
        raise WriterBroken(f"{self._name}: {error!r}") from error

    def _producer(self, turn: int) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._kafka.client(),
            client_id=f"{self._name}.{turn}",
            transactional_id=f"{self._name}.{turn}",
            transaction_timeout_ms=self._timeout_ms,
            acks="all",
            compression_type="zstd",
            max_batch_size=MAX_BATCH_BYTES,
            retry_backoff_ms=20,
            request_timeout_ms=10_000,
        )


def _append(batch: object, record: OutRecord) -> bool:
    return batch.append(timestamp=None, key=record.key_bytes, value=record.value, headers=list(record.headers)) is not None  # type: ignore[attr-defined]


async def close_producer(producer: AIOKafkaProducer) -> None:
    """Stops a producer, and does not wait for a broker that is gone: what it still holds was never acknowledged."""
    await close(producer.stop(), producer.client._client_id)
    # aiokafka keeps the error of a fatal transaction in a future that nobody awaits; it was reported already
    waiter = getattr(producer._txn_manager, "_transaction_waiter", None)
    if waiter is not None and waiter.done() and not waiter.cancelled():
        waiter.exception()
