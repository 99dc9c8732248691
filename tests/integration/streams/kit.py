"""Changes on a real broker, the service in this process on a real port, and clients that read as everybody's do."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from barecount_chassis import issue_token
from barecount_contracts import CloudEvent, Position, StateChanged, partition_of
from barecount_eventlog import Appender, KafkaSettings
from barecount_local.keys import make_keys
from barecount_local.ports import free_ports
from barecount_streams.app import build
from barecount_streams.settings import StreamSettings
from httpx_sse import EventSource, ServerSentEvent

from tests.support.servers import Kafka

PARTITIONS = 4


def tenant_of(partition: int | None = None) -> str:
    """A tenant of this test alone, in a given partition if it matters."""
    while True:
        name = f"t-{secrets.token_hex(4)}"
        if partition is None or partition_of(name, PARTITIONS) == partition:
            return name


def change(
    tenant: str, number: int, *, type_: str = "run.started", kind: str = "run", pipeline: str = "revenue", pad: int = 0
) -> CloudEvent:
    told = StateChanged(
        tenant=tenant,
        kind=kind,  # type: ignore[arg-type]
        id=f"r{number}",
        summary=f"change {number}" + "." * pad,
        pipeline=pipeline,
        run_id=f"r{number}" if kind == "run" else None,
        correlation=uuid4(),
        source=Position(topic="runs.events", partition=0, offset=number),
    )
    return CloudEvent(
        id=f"{tenant}/{number}",
        source=f"/tenants/{tenant}/{kind}s",
        type=type_,
        subject=told.id,
        time=datetime.now(UTC),
        tenant=tenant,
        data=told.to_data(),
    )


async def publish(appender: Appender, *events: CloudEvent, topic: str = "state.changes") -> None:
    await asyncio.gather(*(appender.append_bytes(topic, event.tenant, event.value(), event.headers()) for event in events))


def kafka_as(kafka: Kafka, principal: str) -> KafkaSettings:
    given = kafka.settings(principal)
    return KafkaSettings(given["bootstrap_servers"], given["sasl_plain_username"], given["sasl_plain_password"])


@asynccontextmanager
async def appending(kafka: Kafka, principal: str = "streams") -> AsyncIterator[Appender]:
    appender = Appender(kafka_as(kafka, principal), f"test.{principal}")
    await appender.start()
    try:
        yield appender
    finally:
        await appender.stop()


def settings_for(kafka: Kafka, folder: Path, **more: Any) -> StreamSettings:
    make_keys(folder / "keys")
    given = kafka.settings("streams")
    return StreamSettings(
        service="streams",
        data_dir=folder,
        keys_dir=folder / "keys",
        kafka_bootstrap=given["bootstrap_servers"],
        kafka_username=given["sasl_plain_username"],
        kafka_password=given["sasl_plain_password"],
        **{"stream_derives": False, **more},
    )


@dataclass
class Serving:
    """The service on a port of its own."""

    address: str
    keys: Path
    app: Any = field(repr=False)

    def token(self, tenant: str, role: str = "auditor", seconds: float = 600, subject: str = "ann") -> str:
        pem = (self.keys / "issuer.private.pem").read_bytes()
        return issue_token(pem, subject=f"{subject}@{tenant}", tenant=tenant, roles=[role], ttl=timedelta(seconds=seconds))

    @asynccontextmanager
    async def stream(
        self, tenant: str, *, role: str = "auditor", last: str | None = None, seconds: float = 600, **query: str
    ) -> AsyncIterator[Stream]:
        headers = {"Authorization": f"Bearer {self.token(tenant, role, seconds)}", **({"Last-Event-ID": last} if last else {})}
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(5, read=30)) as client,
            client.stream("GET", f"{self.address}/stream", params=query, headers=headers) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            found = Stream(EventSource(answer).aiter_sse())
            opened = await found.next("open")
            assert opened.event == "open", opened
            yield found


@dataclass
class Stream:
    """One open stream, read by httpx-sse. `last` is the id to come back with."""

    source: AsyncIterator[ServerSentEvent]
    last: str = ""
    heartbeats: int = 0

    async def next(self, what: str = "event", seconds: float = 20) -> ServerSentEvent:
        """The next event; signs of life are counted and passed over."""
        async with asyncio.timeout(seconds):
            while True:
                found = await anext(self.source)
                self.last = found.id or self.last
                if found.data:
                    return found
                self.heartbeats += 1

    async def ids(self, count: int) -> list[str]:
        return [json.loads((await self.next()).data)["id"] for _ in range(count)]


@asynccontextmanager
async def serving(settings: StreamSettings) -> AsyncIterator[Serving]:
    (port,) = free_ports(1)
    app = build(settings)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, timeout_graceful_shutdown=3))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign]
    running = asyncio.create_task(server.serve())
    await eventually(lambda: server.started or running.done(), "the service to answer")
    assert server.started, running.exception()
    try:
        yield Serving(f"http://127.0.0.1:{port}", settings.keys, app)
    finally:
        app.state.stopping.set()
        server.should_exit = True
        await running


async def eventually(check: Callable[[], bool], what: str, seconds: float = 30) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not check():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {seconds} s for {what}") from None
