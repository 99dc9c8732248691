from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stack import Stack, stack


@pytest.fixture(scope="session")
def product() -> Iterator[Stack]:
    """The whole product, with the story told."""
    with stack() as running:
        running.run("demo")
        yield running
