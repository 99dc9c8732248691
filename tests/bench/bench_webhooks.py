"""The relay: events of state.changes at a receiver, each with its intent and result in the log, against a raw HTTP loop."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from barecount_contracts import CloudEvent, Envelope, WebhookCreated
from barecount_webhooks.app import build
from barecount_webhooks.settings import WebhooksSettings

from tests.bench.figure import Figure
from tests.integration.webhooks.kit import Receiver, change, receiving
from tests.support.servers import kafka_server, postgres_server
from tests.support.service import appending, running, settings

COUNT, AT_ONCE = 500, 32


async def bench_webhook_deliveries() -> list[Figure]:
    """Deliveries per second to one endpoint that takes all, against the same bodies posted by a bare loop with as many calls at once."""
    with kafka_server(java_options=()) as kafka, postgres_server() as postgres, tempfile.TemporaryDirectory() as folder:
        kafka.furnish()
        await postgres.furnish()
        async with receiving() as receiver:
            given = settings(
                WebhooksSettings, "webhooks", kafka, postgres, Path(folder),
                webhook_private_targets=f"127.0.0.1:{receiver.port}", webhook_most_in_flight=AT_ONCE,
            )  # fmt: skip
            events = [change("bench", f"run-{number}") for number in range(COUNT)]
            made = WebhookCreated(endpoint_id=f"wh_{uuid4().hex}", url=receiver.url("/relay"), event_types=("*",))
            created = Envelope(
                id=uuid4(), type=made.TYPE, tenant="bench", time=min(e.time for e in events), correlation=uuid4(), data=made.to_data()
            )
            async with appending(kafka, "command") as command, appending(kafka, "streams") as streams:
                await command.append("control.events", "bench", created)
                await asyncio.gather(*(streams.append_bytes("state.changes", e.tenant, e.value(), e.headers()) for e in events))
            async with running(build, given):
                # its start is not measured: the lane has to grow from four calls at once
                await receiver.waits_for("/relay", COUNT // 10, 120)
                before, began = len(receiver.at("/relay")), time.perf_counter()
                await receiver.waits_for("/relay", COUNT, 120)
                rate = (COUNT - before) / (time.perf_counter() - began)
            raw = await _raw(receiver, events)
    return [Figure("webhook deliveries, intent and result in the log", rate, "1/s", raw, None)]


async def _raw(receiver: Receiver, events: list[CloudEvent]) -> float:
    """The ceiling: the same bytes on as many plain connections; no log, no signature, no check of addresses, and no client's pool.

    A pool of 32 callers looks through all its connections at each request: it was slower than the relay, so it was no ceiling.
    """
    waiting = [event.value() for event in events]

    async def post() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        while waiting:
            body = waiting.pop()
            head = f"POST /raw HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answered = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in answered or b" 204 " in answered, answered
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(post() for _ in range(AT_ONCE)))
    seconds = time.perf_counter() - began
    assert len(receiver.at("/raw")) == len(events)
    return len(events) / seconds
