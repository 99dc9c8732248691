"""The rule of api.calls with a real log behind it."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from barecount_chassis import Caller, Settings, create_app, create_keypair, issue_token, require
from barecount_contracts import parse
from barecount_eventlog import Appender, KafkaSettings
from fastapi import APIRouter

from tests.support.servers import kafka_server

pytestmark = pytest.mark.integration


async def test_while_the_broker_is_dead_calls_are_refused_within_a_second_and_afterwards_they_are_answered(tmp_path: Path) -> None:
    create_keypair(tmp_path, "issuer")
    made = issue_token((tmp_path / "issuer.pem").read_bytes(), subject="ann", tenant="acme", roles=["auditor"], ttl=timedelta(minutes=5))
    router = APIRouter()

    @router.get("/runs")
    async def runs(caller: Annotated[Caller, require("runs:read")]) -> dict[str, str]:
        return {"tenant": caller.tenant}

    with kafka_server() as broker:
        broker.furnish()
        told = broker.settings()
        kafka = KafkaSettings(told["bootstrap_servers"], told["sasl_plain_username"], told["sasl_plain_password"])
        settings = Settings(service="command", kafka_bootstrap=kafka.bootstrap, keys_dir=tmp_path)
        app = create_app(settings, title="Test", routers=[router], appender=Appender(kafka, "command.api"))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:

            async def call() -> httpx.Response:
                return await client.get("/runs", headers={"Authorization": f"Bearer {made}"})

            async def answered() -> httpx.Response:
                """The first answer that is not withheld: after a start the partitions' leaders take a moment."""
                deadline = time.monotonic() + 30
                while (found := await call()).status_code == 503:
                    assert time.monotonic() < deadline, found.text
                return found

            first = await answered()
            assert first.json() == {"tenant": "acme"}
            broker.kill()
            began = time.monotonic()
            refused = await call()
            assert (refused.status_code, refused.json()["code"]) == (503, "evidence-unavailable")
            assert time.monotonic() - began < 1
            broker.start()
            last = await answered()
            assert last.status_code == 200
        recorded = set()
        async with AIOKafkaConsumer("api.calls", **broker.settings(), auto_offset_reset="earliest") as consumer:
            while not {first.headers["X-Request-Id"], last.headers["X-Request-Id"]} <= recorded:
                for records in (await consumer.getmany(timeout_ms=5000)).values():
                    recorded |= {str(parse(record.value).data["request_id"]) for record in records}
