"""The dashboard in Chromium, on the product with the story told: a failed run, and its replay that succeeded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.looking import Looker
from tests.support.stack import Stack


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Debian's Chromium, or the one that playwright itself has installed."""
    found = shutil.which("chromium") or playwright.chromium.executable_path
    if not os.path.exists(found):
        pytest.skip("Chromium is not installed: `apt-get install chromium`, or `playwright install chromium`")
    running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
    yield running
    running.close()


@pytest.fixture
def looker(chromium: Browser, product: Stack, story: str) -> Iterator[Looker]:
    """Opens pages as people with a role; afterwards no page has asked another origin for anything, or failed."""
    looking = Looker(chromium, product)
    yield looking
    looking.close()
    assert not looking.elsewhere, f"requests left the product's origin: {looking.elsewhere}"
    assert not looking.failures, f"a page failed: {looking.failures}"
