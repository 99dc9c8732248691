"""A worker of its own for each test, on the session's broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.servers import Kafka
from tests.support.workers import Execution, WorkerProcess, playing_execution


@pytest.fixture
async def execution(kafka: Kafka) -> AsyncIterator[Execution]:
    async with playing_execution(kafka) as playing:
        yield playing


@pytest.fixture
def start_worker(kafka: Kafka, execution: Execution, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts workers that share one lake; ends them with the test. settings: `slots="2"` for BARECOUNT_SLOTS."""
    started: list[WorkerProcess] = []

    def start(worker_id: str | None = None, **settings: str) -> WorkerProcess:
        name = worker_id or f"worker-{uuid4().hex[:8]}"
        worker = WorkerProcess(kafka, tmp_path, worker_id=name, pool=execution.pool, **settings)
        worker.start()
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.end()
