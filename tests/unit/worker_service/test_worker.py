"""A worker that cannot hear must not look alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from barecount_chassis import CommandBus, Keyring, Record, create_keypair
from barecount_contracts import AnnounceWorker
from barecount_worker import worker as room
from barecount_worker.app import build
from barecount_worker.reports import Reports
from barecount_worker.settings import WorkerSettings
from barecount_worker.slots import Ended
from barecount_worker.worker import Worker

from tests.support.worker_fakes import Log, OneSlot, Slot

pytestmark = pytest.mark.unit


class BrokenTail:
    async def stop(self) -> None:
        return None

    def lag(self) -> dict[tuple[str, int], int]:
        return {}

    async def __aiter__(self) -> AsyncIterator[Record]:
        raise OSError("too many open files")
        yield


def settings(folder: Path) -> WorkerSettings:
    return WorkerSettings(service="worker", kafka_bootstrap="none:1", worker_id="worker-1", lake_dir=folder, keys_dir=folder)


async def test_a_worker_whose_tail_breaks_ends_its_process_after_it_has_withdrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    async def tail(*_: Any, **__: Any) -> BrokenTail:
        order.append("position")
        return BrokenTail()

    monkeypatch.setattr(room, "tail_partition", tail)
    create_keypair(tmp_path, "worker")
    log, ended = Log(), asyncio.Event()
    reports = Reports(CommandBus(log, Keyring(tmp_path, "worker"), inbox="runs.commands"), pool="default", principal="p", recovered=print)
    slots: Any = OneSlot(Slot(Ended({}, None)))
    one = Worker(settings(tmp_path), incarnation="life-1", code_version="1", appender=log, slots=slots, end=ended.set)  # type: ignore[arg-type]

    await one.start(reports)
    order.append("announced")
    await asyncio.wait_for(ended.wait(), 5)
    await one.stop(5)

    assert order == ["position", "announced"]
    assert isinstance(one.failed, OSError)
    assert not one.ready
    announced = [payload for payload in log.payloads() if isinstance(payload, AnnounceWorker)]
    assert [(one.slots, one.incarnation) for one in announced] == [(1, "life-1"), (0, "life-1")]


def test_the_app_is_built_without_a_broker_and_has_no_public_route(tmp_path: Path) -> None:
    assert build(settings(tmp_path)).openapi()["paths"] == {}
