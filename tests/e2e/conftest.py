from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stack import Stack, stack


@pytest.fixture(scope="session")
def product() -> Iterator[Stack]:
    """The whole product, started once for all end-to-end tests."""
    with stack() as running:
        yield running


@pytest.fixture(scope="session")
def story(product: Stack) -> str:
    """What `barecount demo` printed, once."""
    return product.run("demo").stdout
