"""A receiver that does as it is told, events as streams writes them, and the relay beside the command service."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from barecount_contracts import CloudEvent, Position, StateChanged
from barecount_eventlog import Appender
from standardwebhooks.webhooks import Webhook

from tests.support.service import Service

SECONDS = 30.0


@dataclass
class Answer:
    """What the receiver says to a request. hold: it says it only when the event is set."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    hold: asyncio.Event | None = None


@dataclass
class Got:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def verified_by(self, secret: str) -> bool:
        """The official library's word."""
        try:
            Webhook(secret).verify(self.body, self.headers)
        except Exception:
            return False
        return True


class Receiver:
    """A real HTTP server that serves many tests. By path `plan`: what it answers next, one after the other; then `always`."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.plan: dict[str, list[Answer]] = {}
        self.always: dict[str, Answer] = {}
        self.port = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Got]:
        return [one for one in self.got if one.path == path]

    async def waits_for(self, path: str, count: int, seconds: float = SECONDS) -> list[Got]:
        """Until so many requests came to a path."""
        await eventually(lambda: len(self.at(path)) >= count, f"{count} requests at {path}", seconds)
        return self.at(path)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                path = head[0].split(" ")[1]
                self.got.append(Got(path, headers, body, time.monotonic()))
                planned = self.plan.get(path, [])
                answer = planned.pop(0) if planned else self.always.get(path, Answer())
                if answer.hold is not None:
                    await answer.hold.wait()
                said = "".join(f"{name}: {value}\r\n" for name, value in {**answer.headers, "content-length": len(answer.body)}.items())
                writer.write(f"HTTP/1.1 {answer.status} Said\r\n{said}\r\n{answer.body}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


async def eventually(check: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Looks until it is so: the receiver is watched from outside."""
    try:
        async with asyncio.timeout(seconds):
            while not check():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s for {what}") from None


async def answered(ask: Callable[[], Awaitable[dict[str, Any] | None]], what: str, seconds: float = SECONDS) -> dict[str, Any]:
    """Asks until there is an answer."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = await ask()
                if found is not None:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s for {what}") from None


def change(tenant: str, run_id: str, *, event_type: str = "run.succeeded", pipeline: str = "revenue-kpi", event_id: str = "") -> CloudEvent:
    """As streams makes them."""
    data = StateChanged(
        tenant=tenant,
        kind="run",
        id=run_id,
        summary=f"run {run_id}: {event_type} – ü",
        pipeline=pipeline,
        run_id=run_id,
        correlation=uuid4(),
        source=Position(topic="runs.events", partition=0, offset=7),
    )
    return CloudEvent(
        id=event_id or str(uuid4()),
        source=f"/tenants/{tenant}/runs",
        type=event_type,
        subject=run_id,
        time=datetime.now(UTC),
        tenant=tenant,
        data=data.to_data(),
    )


async def publish(streams: Appender, event: CloudEvent) -> CloudEvent:
    await streams.append_bytes("state.changes", event.tenant, event.value(), event.headers())
    return event


@dataclass
class Place:
    """Both services, and who speaks to them."""

    command: Service
    webhooks: Service
    streams: Appender

    async def ask(self, method: str, path: str, tenant: str, *, role: str = "tenant_admin", body: Any = None) -> Any:
        """The answer's JSON; the edge's table decides who is asked."""
        relays = method == "GET" and any(part in path for part in ("/deliveries", "/secret", "/health"))
        service = self.webhooks if relays else self.command
        async with service.client(role, tenant) as http:
            headers = {"Prefer": "wait=15", "Idempotency-Key": str(uuid4())}
            async with asyncio.timeout(SECONDS):
                # a machine under load may answer 503, which is safe to repeat under the same key
                while (answer := await http.request(method, path, json=body, headers=headers)).status_code == 503:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        return {**answer.json(), "http": answer.status_code}

    async def create(self, tenant: str, url: str, *types: str, **more: Any) -> str:
        """The id of a new endpoint, when the relay knows it."""
        made = await self.ask("POST", "/webhooks", tenant, body={"url": url, "event_types": types or ("*",), **more})
        assert made["http"] == 201, made
        endpoint = str(made["event"]["data"]["endpoint_id"])
        await self.known(tenant, endpoint)
        return endpoint

    async def known(self, tenant: str, endpoint: str) -> None:
        async def there() -> dict[str, Any] | None:
            found = await self.ask("GET", f"/webhooks/{endpoint}/health", tenant)
            return found if found["http"] == 200 else None

        await answered(there, f"the relay to know {endpoint}")

    async def delivery(self, tenant: str, endpoint: str, event_id: str, state: str) -> dict[str, Any]:
        """A delivery with its attempts, once it is in that state."""

        async def there() -> dict[str, Any] | None:
            found = await self.ask("GET", f"/webhooks/{endpoint}/deliveries/{event_id}", tenant)
            return found if found.get("state") == state else None

        return await answered(there, f"{endpoint}/{event_id} to be {state}")

    async def health(self, tenant: str, endpoint: str, state: str) -> dict[str, Any]:
        async def there() -> dict[str, Any] | None:
            found = await self.ask("GET", f"/webhooks/{endpoint}/health", tenant)
            return found if found.get("state") == state else None

        return await answered(there, f"{endpoint} to be {state}")

    async def secret(self, tenant: str, endpoint: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.ask("GET", f"/webhooks/{endpoint}/secret", tenant)
        return found
