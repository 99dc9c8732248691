"""SIGKILL of the streams service while clients follow: who comes back with the last id has every change once."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from barecount_chassis import issue_token
from barecount_eventlog import read_all
from barecount_local.keys import make_keys
from barecount_local.ports import free_ports
from httpx_sse import EventSource

from tests.integration.lineage.kit import event_of, life
from tests.integration.streams.kit import appending, kafka_as, tenant_of
from tests.support.forks import DEVNULL, forked
from tests.support.servers import Kafka

pytestmark = pytest.mark.chaos
RUNS, KILLS = 60, 3
EVENTS = 5  # that a run of the kit becomes


async def test_ids_are_complete_and_single_for_a_client_that_comes_back(furnished_kafka: Kafka, tmp_path: Path) -> None:
    tenant, (port,) = tenant_of(), free_ports(1)
    make_keys(tmp_path / "keys")
    pem = (tmp_path / "keys" / "issuer.private.pem").read_bytes()
    token = issue_token(pem, subject="ann", tenant=tenant, roles=["auditor"], ttl=timedelta(hours=1))
    given = furnished_kafka.settings("streams")
    told = {
        **os.environ,
        "PYTHONPATH": str(Path.cwd()),
        "BARECOUNT_SERVICE": "streams",
        "BARECOUNT_HTTP_PORT": str(port),
        "BARECOUNT_DATA_DIR": str(tmp_path),
        "BARECOUNT_KEYS_DIR": str(tmp_path / "keys"),
        "BARECOUNT_KAFKA_BOOTSTRAP": given["bootstrap_servers"],
        "BARECOUNT_KAFKA_USERNAME": given["sasl_plain_username"],
        "BARECOUNT_KAFKA_PASSWORD": given["sasl_plain_password"],
    }
    address = f"http://127.0.0.1:{port}/stream?since=2020-01-01T00:00:00Z"
    # one stays as long as it can, and one goes by itself in the midst of what comes
    had, restless = list[str](), list[str]()
    clients = [
        asyncio.create_task(_follow(address, token, had, RUNS * EVENTS)),
        asyncio.create_task(_follow(address, token, restless, RUNS * EVENTS, changes=3)),
    ]
    lives = [asyncio.Event() for _ in range(KILLS + 1)]
    stream = asyncio.create_task(_runs(furnished_kafka, tenant, lives))
    try:
        for kill in range(KILLS + 1):
            process = await forked("barecount_streams.app", env=told, stdout=DEVNULL)
            try:
                # each life of the service has runs of its own to tell, so that every kill meets some under way
                lives[kill].set()
                if kill == KILLS:
                    await stream
                    async with asyncio.timeout(60):
                        await asyncio.gather(*clients)
                else:
                    before = len(had)
                    async with asyncio.timeout(60):
                        while len(had) < before + 7:  # noqa: ASYNC110
                            await asyncio.sleep(0.02)
            finally:
                process.kill()
                await process.wait()
    finally:
        for task in (*clients, stream):
            task.cancel()
    logged = [
        record.cloud_event.id
        async for batch in read_all(kafka_as(furnished_kafka, "admin"), "state.changes")
        for record in batch.records
        if record.key == tenant
    ]
    assert had == logged, "the client has what the log has, in its order, each once"
    assert restless == logged, "and so has one that went in the midst of what it was sent"
    assert len(set(had)) == RUNS * EVENTS


async def _runs(kafka: Kafka, tenant: str, lives: list[asyncio.Event]) -> None:
    async with appending(kafka, "admin") as appender:
        for number in range(RUNS):
            await lives[number * len(lives) // RUNS].wait()
            for payload in life(f"{tenant}-{number}"):
                await appender.append("runs.events", "default", event_of(payload, tenant))
            await asyncio.sleep(0.1)  # so that the kills meet it under way


async def _follow(address: str, token: str, had: list[str], until: int, changes: int | None = None) -> None:
    """A client as simple as a browser: it comes back with the last id. changes: it goes by itself after so many."""
    last: str | None = None
    async with httpx.AsyncClient(timeout=httpx.Timeout(5, read=30)) as client:
        while len(had) < until:
            headers = {"Authorization": f"Bearer {token}", **({"Last-Event-ID": last} if last else {})}
            try:
                async with client.stream("GET", address, headers=headers) as answer:
                    if answer.status_code != 200:
                        continue
                    goes = until if changes is None else min(until, len(had) + changes)
                    async for event in EventSource(answer).aiter_sse():
                        assert event.event != "gap", event.data
                        last = event.id or last
                        if event.data and event.event not in ("open", "end"):
                            had.append(json.loads(event.data)["id"])
                        if len(had) >= goes:
                            break
            except httpx.TransportError:
                await asyncio.sleep(0.1)  # nobody answers at the moment
