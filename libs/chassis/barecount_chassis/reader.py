"""Policies: reading another log at least once, in order, with a consumer group.

Policies run on FastStream, whose defaults lose records; here is every place where this file says otherwise:
- AckPolicy.MANUAL (default: commit before handling) and an explicit commit of exact offsets after success, never of positions.
- earliest, read_committed (defaults: latest, read_uncommitted).
- no topic is created: consumer only, and a topic that is not there stops the start.
- a handler's exception never reaches FastStream, which would log it and go on: it is retried here, with backoff, for ever; a
  `PermanentError` is parked after `attempts`. What fails around the handler (parser, middleware) rewinds to the record.
- headers and values reach the handler as bytes; FastStream's parser would raise on a binary header and skip the record.
- one record at a time, as getone gives them: an idle policy sleeps in the fetch instead of polling.
- a static group member: after a kill the next process takes over at once instead of after the session's timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError, KafkaError
from barecount_contracts import EnvelopeError
from faststream import AckPolicy, BaseMiddleware
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER
from faststream.kafka.opentelemetry import KafkaTelemetryMiddleware
from faststream.kafka.prometheus import KafkaPrometheusMiddleware
from faststream.security import BaseSecurity, SASLScram256

from . import telemetry
from .ending import close
from .record import Record, record_of
from .tail import position_of, require_topics

FIRST_BACKOFF: Final = 0.1
LONGEST_BACKOFF: Final = 15.0
COMMIT_RECORDS: Final = 100

Handle = Callable[[Record], Awaitable[None]]
Park = Callable[[Record, Exception], Awaitable[None]]


class PermanentError(Exception):
    """A handler's word that trying again will not help with this record. Everything else is tried again for ever."""


class Policy:
    """Reads topics in partition order and calls `handle` for each record, at least once; group `<service>.<name>`.

    `kafka` is Settings.kafka(). `park(record, error)` takes a record that cannot be read or whose handling fails for good, and is itself
    retried until it succeeds; without it the policy stops at such a record and `failed` says so. `instance` tells replicas apart, the
    same again after a restart.
    """

    def __init__(
        self,
        kafka: Mapping[str, str | None],
        *,
        service: str,
        name: str,
        topics: Sequence[str],
        handle: Handle,
        park: Park | None = None,
        attempts: int = 5,
        instance: str = "0",
    ) -> None:
        self._kafka, self._service, self._name, self._topics = kafka, service, name, tuple(topics)
        self._handle, self._park, self._attempts = handle, park, attempts
        self.group = f"{service}.{name}"
        self.failed: Exception | None = None
        self._caught_up = self._assigned_once = False
        self._stopping = asyncio.Event()
        self._done: dict[TopicPartition, int] = {}
        self._in_hand: TopicPartition | None = None
        self._since_commit = 0
        self._broker = self._frame()
        self._subscriber = self._broker.subscriber(
            *topics,
            group_id=self.group,
            group_instance_id=f"{self.group}.{instance}",
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            listener=_Assignments(self),
            # a long retry is not a dead member
            max_poll_interval_ms=3_600_000,
        )
        self._subscriber(self._take)

    async def start(self) -> None:
        """Joins the group and begins to read. Raises: ReaderError when a topic is missing, KafkaError when no broker answers."""
        await require_topics(self._kafka, self._topics)
        await self._broker.start()
        telemetry.logger().info(telemetry.READER_STARTED, reader=self.group, topics=self._topics)

    async def stop(self) -> None:
        """Lets the record in hand finish unless it is waiting to be retried, commits what is done, and leaves."""
        self._stopping.set()
        consumer = self._consumer
        if consumer is not None:
            # FastStream waits for the record in hand only after it forgets the consumer's offsets: commit when it is done
            self._subscriber.running = False
            await self._idle()
            await self._commit(consumer)
        await close(self._broker.stop(), self.group)

    @property
    def ready(self) -> bool:
        """True from the moment at which everything that was in the log had been handled once."""
        if not self._caught_up and self.failed is None and self._assigned_once and self._consumer is not None:
            known = self._lag()
            self._caught_up = all(behind == 0 for behind in known.values())
        return self._caught_up and self.failed is None

    def lag(self) -> dict[tuple[str, int], int]:
        """Records (control records count) between the last handled one and the last stable offset, per (topic, partition)."""
        return {tp: behind for tp, behind in self._lag().items() if behind is not None}

    # --- reading ------------------------------------------------------------------------------------------------------------

    async def _take(self, record: Record) -> None:
        """FastStream's handler. Returns only when the record is done, or when the policy is stopping."""
        if self._stopping.is_set() or self.failed is not None:
            return
        tp = TopicPartition(record.topic, record.partition)
        self._in_hand = tp
        try:
            if await self._done_with(record):
                self._done[tp] = record.offset + 1
                telemetry.READ.labels(self.group, record.topic).inc()
                await self._commit_if_due(tp, record.offset + 1)
        finally:
            self._in_hand = None

    async def _done_with(self, record: Record) -> bool:
        """Handles one record until it succeeds or is parked. False when the policy stops first."""
        tries = 0
        backoff = FIRST_BACKOFF
        while True:
            tries += 1
            try:
                await self._handle(record)
                return True
            except EnvelopeError as error:
                # no later try reads it better
                return await self._parked(record, error)
            except PermanentError as error:
                if tries >= self._attempts:
                    return await self._parked(record, error)
                self._tell_retry(record, tries, error)
            except Exception as error:
                self._tell_retry(record, tries, error)
            if await self._stopped_within(backoff):
                return False
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    async def _parked(self, record: Record, error: Exception) -> bool:
        if self._park is None:
            self.failed = error
            telemetry.logger().error(telemetry.READER_FAILED, reader=self.group, at=record.at, error=repr(error))
            return False
        backoff = FIRST_BACKOFF
        while True:
            try:
                await self._park(record, error)
                telemetry.PARKED.labels(self.group).inc()
                telemetry.logger().error(telemetry.READER_PARKED, reader=self.group, at=record.at, error=repr(error))
                return True
            except Exception as trouble:
                self._tell_retry(record, 0, trouble)
            if await self._stopped_within(backoff):
                return False
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    def _tell_retry(self, record: Record, tries: int, error: Exception) -> None:
        telemetry.RETRIES.labels(self.group).inc()
        telemetry.logger().warning(telemetry.READER_RETRY, reader=self.group, at=record.at, tries=tries, error=repr(error))

    # --- positions ----------------------------------------------------------------------------------------------------------

    @property
    def _consumer(self) -> AIOKafkaConsumer | None:
        return self._subscriber.consumer

    async def _commit_if_due(self, tp: TopicPartition, following: int) -> None:
        """Commits at the end of the log and every COMMIT_RECORDS records: what is not committed only comes again."""
        consumer = self._consumer
        if consumer is None:
            return
        stable = consumer.last_stable_offset(tp)
        # a transaction's marker takes the offset behind its last record
        at_the_end = stable is None or stable - following <= 1
        if at_the_end or (sum(1 for _ in self._done) > 0 and following % COMMIT_RECORDS == 0):
            await self._commit(consumer)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        offsets = {tp: offset for tp, offset in self._done.items() if tp in consumer.assignment()}
        if not offsets:
            return
        try:
            await consumer.commit(offsets)
        except (KafkaError, IllegalStateError) as error:
            telemetry.logger().warning(telemetry.READER_COMMIT_FAILED, reader=self.group, error=repr(error))
            return
        self._since_commit = 0
        for tp, offset in offsets.items():
            if self._done.get(tp) == offset:
                del self._done[tp]

    def _lag(self) -> dict[tuple[str, int], int | None]:
        consumer = self._consumer
        if consumer is None:
            return {}
        found: dict[tuple[str, int], int | None] = {}
        for tp in consumer.assignment():
            stable, position = consumer.last_stable_offset(tp), position_of(consumer, tp)
            known = stable is not None and stable >= 0 and position is not None
            found[tp.topic, tp.partition] = max(0, stable - position) + (tp == self._in_hand) if known else None
        return found

    async def _idle(self) -> None:
        """Waits until no record is in hand: FastStream holds its lock while one is."""
        lock = self._subscriber.lock
        wait = getattr(lock, "wait_release", None)
        if wait is not None:
            await wait(None)

    # --- FastStream's frame ---------------------------------------------------------------------------------------------------

    def _frame(self) -> KafkaBroker:
        return KafkaBroker(
            self._kafka["bootstrap"] or "",
            security=_security(self._kafka),
            client_id=self.group,
            consumer_only=True,
            allow_auto_create_topics=False,
            apply_types=False,
            parser=self._parse,
            decoder=_decode,
            middlewares=(self._rewinding, KafkaTelemetryMiddleware(), _prometheus(self._service)),
            logger=logging.getLogger("faststream"),
            log_level=logging.DEBUG,
            graceful_timeout=None,
        )

    async def _parse(self, message: Any) -> KafkaMessage:
        """Total: no header, key or value can make it raise."""
        headers = {name: (value or b"").decode("latin-1") for name, value in message.headers}
        return KafkaMessage(
            body=message.value or b"",
            headers=headers,
            content_type=headers.get("content-type"),
            message_id=f"{message.topic}/{message.partition}/{message.offset}",
            raw_message=message,
            consumer=self._consumer or FAKE_CONSUMER,
        )

    def _rewinding(self, message: Any, /, *, context: Any) -> BaseMiddleware[Any, Any]:
        return _Rewinding(message, context=context, policy=self)

    async def _rewind(self, message: Any, error: BaseException) -> None:
        consumer = self._consumer
        at = f"{message.topic}/{message.partition}/{message.offset}"
        telemetry.logger().error(telemetry.READER_REWOUND, reader=self.group, at=at, error=repr(error))
        if consumer is not None:
            with contextlib.suppress(IllegalStateError):
                consumer.seek(TopicPartition(message.topic, message.partition), message.offset)
        await self._stopped_within(FIRST_BACKOFF)


class _Rewinding(BaseMiddleware[Any, Any]):
    """Outermost: whatever FastStream would swallow makes the record come again."""

    def __init__(self, message: Any, /, *, context: Any, policy: Policy) -> None:
        super().__init__(message, context=context)
        self._policy = policy

    async def after_processed(
        self, exc_type: type[BaseException] | None = None, exc_val: BaseException | None = None, exc_tb: TracebackType | None = None
    ) -> bool | None:
        if isinstance(exc_val, Exception):
            await self._policy._rewind(self.msg, exc_val)
        return False


class _Assignments(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        consumer = self._policy._consumer
        if consumer is not None:
            await self._policy._commit(consumer)
        for tp in revoked:
            self._policy._done.pop(tp, None)

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._policy._assigned_once = True


def _security(kafka: Mapping[str, str | None]) -> BaseSecurity | None:
    if not kafka.get("username"):
        return None
    return SASLScram256(username=kafka["username"] or "", password=kafka["password"] or "", use_ssl=False)


async def _decode(message: KafkaMessage) -> Record:
    return record_of(message.raw_message)


def _prometheus(service: str) -> KafkaPrometheusMiddleware:
    return KafkaPrometheusMiddleware(registry=telemetry.REGISTRY, app_name=service, metrics_prefix="barecount_faststream")
