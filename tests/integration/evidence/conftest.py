"""One key for the session: the catalogue's ledger on the session's broker is one log, and its key never changes."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of every evidence service that works on the session's broker."""
    return Path(tmp_path_factory.mktemp("evidence"))
