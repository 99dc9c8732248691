"""What every test may ask for. Servers start with the first test that names them, so unit tests never do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.servers import Kafka, Postgres, kafka_server, postgres_server


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """One broker a session; see tests/support/servers.py for its face."""
    with kafka_server() as running:
        yield running


@pytest.fixture(scope="session")
def furnished_kafka(kafka: Kafka) -> Kafka:
    """The same broker with the catalogue's topics and ACLs."""
    kafka.furnish()
    return kafka


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL a session; see tests/support/servers.py for its face."""
    with postgres_server() as running:
        yield running
