"""Fixtures of this room; what they are made of stands in kit.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from barecount_eventlog import Appender

from tests.integration.eventlog.kit import Topics, create_topics, settings_of
from tests.support.servers import Kafka


@pytest.fixture
async def topics(kafka: Kafka) -> AsyncIterator[Topics]:
    """An inbox and its events topic, one partition each."""
    settings = settings_of(kafka)
    inbox, events = await create_topics(settings, "inbox", "events")
    appender = Appender(settings, "test")
    await appender.start()
    yield Topics(settings, inbox, events, appender)
    await appender.stop()
