"""What every test may ask for. Servers start with the first test that names them, so unit tests never do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.servers import Kafka, Postgres, kafka_server, postgres_server
from tests.support.stack import Stack, stack

# in this order at the end: none of them waits beside a whole product that it does not need, and generated requests leave things behind
LAST = ("tests/browser/", "tests/e2e/", "tests/conformance/http/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((number for number, folder in enumerate(LAST, 1) if item.nodeid.startswith(folder)), 0)

    items.sort(key=place)


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


@pytest.fixture(scope="session")
def product() -> Iterator[Stack]:
    """The whole product, started once for everything that asks it from outside."""
    with stack() as running:
        yield running


@pytest.fixture(scope="session")
def story(product: Stack) -> str:
    """What `barecount demo` printed, once."""
    return product.run("demo").stdout
