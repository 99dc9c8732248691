"""The relay and the command service in this process, over a broker and a PostgreSQL of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from barecount_chassis import Settings
from barecount_command.app import build as build_command
from barecount_webhooks.app import build as build_webhooks
from barecount_webhooks.settings import WebhooksSettings

from tests.integration.webhooks.kit import Place, Receiver, receiving
from tests.support.servers import Kafka, Postgres, kafka_server, postgres_server
from tests.support.service import appending, running, settings


@pytest.fixture(scope="session")
def webhooks_kafka() -> Iterator[Kafka]:
    with kafka_server() as broker:
        broker.furnish()
        yield broker


@pytest.fixture(scope="session")
async def webhooks_postgres() -> AsyncIterator[Postgres]:
    with postgres_server() as server:
        await server.furnish()
        yield server


@pytest.fixture(scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture(scope="session")
async def place(
    webhooks_kafka: Kafka, webhooks_postgres: Postgres, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    """Only the receiver's port is allowed beside public addresses; retries come at once."""
    folder = Path(tmp_path_factory.mktemp("webhooks"))
    allowed = f"127.0.0.1:{receiver.port},127.0.0.1:9"
    told = settings(Settings, "command", webhooks_kafka, webhooks_postgres, folder, webhook_private_targets=allowed)
    relay = settings(
        WebhooksSettings, "webhooks", webhooks_kafka, webhooks_postgres, folder,
        webhook_private_targets=allowed, webhook_retry_seconds="0.05,0.1,0.1,0.1,0.1,0.1,0.1,0.1", webhook_deadline_seconds=2,
    )  # fmt: skip
    async with (
        running(build_command, told) as command,
        running(build_webhooks, relay) as webhooks,
        appending(webhooks_kafka, "streams") as streams,
    ):
        yield Place(command, webhooks, streams)
