"""Fixtures of this room; what they are made of stands in kit.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from barecount_eventlog import Appender, KafkaSettings

from tests.integration.execution.kit import Execution, Site, make_keys, may_query
from tests.support.servers import Kafka, Postgres


@pytest_asyncio.fixture(scope="session")
async def site(furnished_kafka: Kafka, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    await postgres.furnish()
    await may_query(postgres.dsn("execution"))
    keys = make_keys(tmp_path_factory.mktemp("keys"))
    appenders = []
    for principal in ("command", "worker"):
        given = furnished_kafka.settings(principal)
        settings = KafkaSettings(given["bootstrap_servers"], given["sasl_plain_username"], given["sasl_plain_password"])
        appenders.append(Appender(settings, f"test.{principal}"))
        await appenders[-1].start()
    yield Site(furnished_kafka, postgres, keys, *appenders)
    for appender in appenders:
        await appender.stop()


@pytest_asyncio.fixture(scope="session")
async def execution(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Execution]:
    """One process for the session; a test that kills it starts it again."""
    running = Execution(site, Path(tmp_path_factory.mktemp("execution")))
    await running.start()
    yield running
    await running.stop()
