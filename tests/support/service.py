"""One service in this process, on real servers, asked over HTTP with real tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from barecount_chassis import Settings, issue_token
from barecount_eventlog import Appender, KafkaSettings
from barecount_local.keys import make_keys
from fastapi import FastAPI

from tests.support.servers import Kafka, Postgres


@dataclass(frozen=True)
class Service:
    """A running service; `client(role, tenant)` asks it."""

    app: FastAPI
    keys: Path

    def client(self, role: str = "auditor", tenant: str = "acme") -> httpx.AsyncClient:
        pem = (self.keys / "issuer.private.pem").read_bytes()
        token = issue_token(pem, subject=f"{role}@{tenant}", tenant=tenant, roles=[role], ttl=timedelta(hours=1))
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://test", headers={"Authorization": f"Bearer {token}"}, timeout=30)


def settings(cls: type[Settings], service: str, kafka: Kafka, postgres: Postgres, folder: Path, **more: Any) -> Settings:
    """The settings that the stack would give this service."""
    make_keys(folder / "keys")
    given = kafka.settings(service)
    return cls(
        service=service,
        data_dir=folder,
        keys_dir=folder / "keys",
        kafka_bootstrap=given["bootstrap_servers"],
        kafka_username=given["sasl_plain_username"],
        kafka_password=given["sasl_plain_password"],
        database_url=postgres.dsn(service, user=service),
        **more,
    )


@asynccontextmanager
async def running(build: Callable[[Settings], FastAPI], given: Settings) -> AsyncIterator[Service]:
    """The app with its lifespan."""
    app = build(given)
    async with app.router.lifespan_context(app):
        yield Service(app, given.keys)


@asynccontextmanager
async def appending(kafka: Kafka, principal: str) -> AsyncIterator[Appender]:
    """An appender as a service: the broker's ACLs decide where it may write."""
    given = kafka.settings(principal)
    appender = Appender(
        KafkaSettings(given["bootstrap_servers"], given["sasl_plain_username"], given["sasl_plain_password"]), f"test.{principal}"
    )
    await appender.start()
    try:
        yield appender
    finally:
        await appender.stop()
