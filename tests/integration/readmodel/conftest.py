"""Fixtures of this room; what they are made of stands in kit.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from barecount_readmodel import Database

from tests.integration.eventlog.conftest import topics  # noqa: F401
from tests.integration.readmodel.kit import fresh_service, service_database
from tests.support.servers import Postgres


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    service = fresh_service()
    opened = await Database.open(await service_database(postgres, service=service), service=service)
    yield opened
    await opened.close()
