"""One product for everything that is killed here; who needs other settings starts their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stack import Stack, stack


@pytest.fixture(scope="package")
def victim_stack() -> Iterator[Stack]:
    with stack() as running:
        yield running
