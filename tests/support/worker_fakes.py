"""The edges of a worker, in memory: a log that acknowledges when it is told to, a slot that says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from barecount_contracts import (
    Bodies,
    ContractRef,
    Envelope,
    Message,
    PlanSummary,
    Position,
    RunTask,
    TaskRef,
)
from barecount_eventlog import AppendFailed

CORRELATION = UUID("00000000-0000-4000-8000-000000000001")


def task(nonce: str = "nonce-1", **given: Any) -> RunTask:
    plan = PlanSummary(
        pipeline="revenue-kpi",
        environment="prod",
        manifest_version=1,
        manifest_digest="sha256:0",
        contract=ContractRef(name="revenue-kpi", version="v3.2"),
        data_partitions=("2025-10-04",),
        mode="run",
    )
    ref = TaskRef(stage="read", data_partition="2025-10-04", attempt=1, nonce=nonce, worker_id="worker-1", incarnation="life-1")
    fields: dict[str, Any] = {"run_id": "run-1", "lease_seconds": 30, "inputs": (), **given}
    return RunTask(task=ref, plan=plan, plan_digest="sha256:0", bodies=Bodies(manifest={}, contracts=()), **fields)


def envelope(payload: Message) -> Envelope:
    return Envelope.model_validate(
        {
            "id": uuid4(),
            "type": payload.TYPE,
            "tenant": "acme",
            "time": "2026-01-01T00:00:00Z",
            "correlation": CORRELATION,
            "data": payload.to_data(),
        }
    )


class Log:
    """Stands for the Appender. `failures` appends fail first; `hold(topic)` keeps acknowledgements back until `release`."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, Envelope]] = []
        self.failures = 0
        self._held: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Condition()

    def hold(self, topic: str) -> None:
        self._held[topic] = asyncio.Event()

    def release(self, topic: str) -> None:
        self._held[topic].set()

    async def append(self, topic: str, key: str, record: Envelope) -> Position:
        if self.failures:
            self.failures -= 1
            raise AppendFailed("no acknowledgement")
        async with self._changed:
            self.records.append((topic, key, record))
            self._changed.notify_all()
        if topic in self._held:
            await self._held[topic].wait()
        return Position(topic=topic, partition=0, offset=len(self.records))

    async def until(self, count: int) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: len(self.records) >= count), 5)

    def types(self) -> list[str]:
        return [record.type for _, _, record in self.records]

    def payloads(self) -> list[Message]:
        return [record.payload() for _, _, record in self.records]


class Slot:
    """Says `messages`, then ends as `ending`; an exception is raised. With `waits` it works until it is stopped."""

    pid = 4711

    def __init__(self, ending: Any, messages: tuple[dict[str, Any], ...] = (), *, waits: bool = False) -> None:
        self._ending, self._messages, self._waits = ending, messages, waits
        self.stopped = asyncio.Event()

    async def work(self, order: Envelope, nonce: str, on_message: Any) -> Any:
        for message in self._messages:
            await on_message(message)
        if self._waits:
            await self.stopped.wait()
        if isinstance(self._ending, Exception):
            raise self._ending
        return self._ending

    def stop(self, nonce: str, reason: str) -> None:
        self.stopped.set()


class OneSlot:
    count = 1

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Slot]:
        yield self._slot

    async def close(self) -> None:
        return None
