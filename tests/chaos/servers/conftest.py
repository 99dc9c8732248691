"""The same topics and database as the integration tests use."""

from __future__ import annotations

from tests.integration.eventlog.conftest import topics
from tests.integration.readmodel.conftest import database

__all__ = ["database", "topics"]
