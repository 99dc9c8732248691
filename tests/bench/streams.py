"""Changes brought to clients per second, against plain asyncio sockets that are sent the same bytes in the same batches."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.integration.streams.kit import appending, change, publish, serving, settings_for, tenant_of
from tests.support.servers import Kafka

Measured = dict[str, Any]
END = b"\n\n"


async def bench_fanout(kafka: Kafka, *, events: int = 3_000, clients: int = 50) -> Measured:
    """events x clients per second, from the log through the service to all clients' sockets, and what sockets alone do."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(kafka, Path(folder), stream_limit=clients)
        async with serving(settings) as service, appending(kafka) as appender:
            tenant = tenant_of()
            head = f"GET /stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.token(tenant)}\r\n\r\n".encode()
            port = int(service.address.rpartition(":")[2])
            readers = [await _opened(port, head) for _ in range(clients)]
            reading = [asyncio.create_task(_count(reader, events)) for reader, _ in readers]
            made = [change(tenant, number) for number in range(events)]
            began = time.perf_counter()
            for first in range(0, events, 500):
                await publish(appender, *made[first : first + 500])
            await asyncio.gather(*reading)
            seconds = time.perf_counter() - began
            for _, writer in readers:
                writer.close()
    frame = len(json.dumps(made[0].structured(), separators=(",", ":"))) + 100
    ceiling = await _raw(events, clients, frame)
    return {"value": events * clients / seconds, "unit": "events x clients/s", "ceiling": ceiling, "clients": clients}


async def _opened(port: int, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000_000)
    writer.write(head)
    await reader.readuntil(b"event: open")
    await reader.readuntil(END)
    return reader, writer


async def _count(reader: asyncio.StreamReader, events: int) -> None:
    """Reads until so many events have come; frames may be cut anywhere."""
    seen, rest = 0, b""
    while seen < events:
        part = await reader.read(262_144)
        assert part, "the stream ended"
        whole = rest + part
        seen += whole.count(b"\nevent: run.started")
        rest = whole[-18:] if not whole.endswith(b"\nevent: run.started") else b""


async def _raw(events: int, clients: int, size: int) -> float:
    """The ceiling: one process, the same clients, the same bytes in batches of 200, no log and no HTTP."""
    batch = (b"x" * (size - 2) + END) * 200
    opened: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: opened.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    readers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    async with asyncio.timeout(30):
        while len(opened) < clients:  # noqa: ASYNC110
            await asyncio.sleep(0)  # the server's side of the connections is made in this loop

    async def drain(reader: asyncio.StreamReader) -> None:
        left = size * events
        while left > 0:
            left -= len(await reader.read(262_144))

    async def feed(writer: asyncio.StreamWriter) -> None:
        for _ in range(0, events, 200):
            writer.write(batch)
            await writer.drain()

    began = time.perf_counter()
    await asyncio.gather(*(drain(reader) for reader, _ in readers), *(feed(writer) for writer in opened))
    seconds = time.perf_counter() - began
    for _, writer in readers:
        writer.close()
    server.close()
    return events * clients / seconds
