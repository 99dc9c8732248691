from __future__ import annotations

import pytest

from tests.unit.command.history import History
from tests.unit.command.test_contracts import contract
from tests.unit.command.test_pipelines import create, promote, start
from tests.unit.command.test_replays import RUN


@pytest.fixture
def ran() -> History:
    """A pipeline in prod that was run once for 2025-10-04."""
    history = History()
    for command in (contract("retail-transactions"), contract(), create(), promote(), start(run_id=RUN)):
        history.when(command)
    return history
