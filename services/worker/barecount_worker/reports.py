"""Everything a worker says, sent until the broker has acknowledged it. Only the lease decides what is too late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from barecount_chassis import CommandBus
from barecount_contracts import PLATFORM, AnnounceWorker, Envelope, Message, command_id
from barecount_eventlog import Appender, AppendFailed

from . import telemetry
from .records import Order

FIRST_BACKOFF: Final = 0.1
LONGEST_BACKOFF: Final = 5.0
IN_FLIGHT: Final = 256


class Reports:
    """Signed commands to the pool's inbox. `recovered` is called after something was acknowledged only at a later try."""

    def __init__(self, bus: CommandBus, *, pool: str, principal: str, recovered: Callable[[], None]) -> None:
        self._bus, self._pool, self._principal, self._recovered = bus, pool, principal, recovered

    async def report(self, order: Order, payload: Message, kind: str, sequence: int = 0) -> None:
        """Returns when it stands in the log. The same attempt, kind and sequence are the same command, however often it is sent."""
        await self._until_acknowledged(payload, order.tenant, order.correlation, f"{order.nonce}/{kind}/{sequence}")

    async def announce(self, announcement: AnnounceWorker, sequence: int) -> None:
        key = f"{announcement.worker_id}/{announcement.incarnation}/announce/{sequence}"
        await self._until_acknowledged(announcement, PLATFORM, command_id(PLATFORM, self._principal, key), key)

    async def _until_acknowledged(self, payload: Message, tenant: str, correlation: UUID, key: str) -> None:
        async def send() -> None:
            await self._bus.report(payload, tenant=tenant, correlation=correlation, key=self._pool, idempotency_key=key)

        if await until_acknowledged(send, payload.TYPE):
            self._recovered()


class Outbox:
    """Log lines and dead letters of one attempt: many on their way at once, none forgotten."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._under_way: set[asyncio.Task[None]] = set()

    async def put(self, topic: str, key: str, envelope: Envelope) -> None:
        """Sends it. Waits while too many are not acknowledged: who fills the outbox faster than the broker takes it is slowed down."""
        await self._room.acquire()
        task = asyncio.create_task(self._send(topic, key, envelope))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def drain(self) -> None:
        """Returns when everything was acknowledged."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    def drop(self) -> None:
        """Nothing more is sent: the process ends."""
        for task in self._under_way:
            task.cancel()

    async def _send(self, topic: str, key: str, envelope: Envelope) -> None:
        async def send() -> None:
            await self._appender.append(topic, key, envelope)

        try:
            await until_acknowledged(send, topic)
        finally:
            self._room.release()


async def until_acknowledged(send: Callable[[], Awaitable[None]], what: str) -> bool:
    """Calls `send` until it does not raise AppendFailed. Tells whether it had to be called more than once."""
    backoff, again = FIRST_BACKOFF, False
    while True:
        try:
            await send()
            return again
        except AppendFailed as error:
            telemetry.RESENT.labels(what).inc()
            telemetry.logger().warning(telemetry.REPORT_RETRY, what=what, error=str(error))
            again = True
        await asyncio.sleep(backoff)  # the client has no event for "a broker answers again"
        backoff = min(backoff * 2, LONGEST_BACKOFF)
