"""The same topics and database as the integration tests use."""

from __future__ import annotations

from tests.integration.eventlog.conftest import topics

__all__ = ["topics"]
