"""One command service on a broker of its own: its ledger is complete or behind as a test wants it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from barecount_chassis import Settings
from barecount_command.app import build

from tests.support.servers import Kafka, Postgres, kafka_server, postgres_server
from tests.support.service import Service, running, settings


@pytest.fixture(scope="session")
def own_kafka() -> Iterator[Kafka]:
    """The catalogue's topics, empty, for this room alone."""
    with kafka_server() as broker:
        broker.furnish()
        yield broker


@pytest.fixture(scope="session")
async def own_postgres() -> AsyncIterator[Postgres]:
    """Read models belong to one log: these belong to `own_kafka`."""
    with postgres_server() as server:
        await server.furnish()
        yield server


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tmp_path_factory.mktemp("command"))


@pytest.fixture(scope="session")
async def service(own_kafka: Kafka, own_postgres: Postgres, folder: Path) -> AsyncIterator[Service]:
    async with running(build, settings(Settings, "command", own_kafka, own_postgres, folder)) as service:
        yield service
