"""Fixtures of this room; what they are made of stands in kit.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from barecount_eventlog import Appender, KafkaSettings

from tests.integration.execution.kit import Execution, Site, make_keys, may_query
from tests.support.servers import Kafka, Postgres, kafka_server


@pytest.fixture(scope="session")
def own_kafka() -> Iterator[Kafka]:
    """A broker whose runs.events nobody else writes: a handler trusts its own log, and other rooms' tests make events up."""
    with kafka_server() as running:
        running.furnish()
        yield running


@pytest_asyncio.fixture(scope="session")
async def site(own_kafka: Kafka, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    await postgres.furnish()
    await may_query(postgres.dsn("execution"))
    keys = make_keys(tmp_path_factory.mktemp("keys"))
    appenders = []
    for principal in ("command", "worker"):
        given = own_kafka.settings(principal)
        settings = KafkaSettings(given["bootstrap_servers"], given["sasl_plain_username"], given["sasl_plain_password"])
        appenders.append(Appender(settings, f"test.{principal}"))
        await appenders[-1].start()
    yield Site(own_kafka, postgres, keys, *appenders)
    for appender in appenders:
        await appender.stop()


@pytest_asyncio.fixture(scope="session")
async def execution(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Execution]:
    """One process for the session; a test that kills it starts it again."""
    running = Execution(site, Path(tmp_path_factory.mktemp("execution")))
    await running.start()
    yield running
    await running.stop()
