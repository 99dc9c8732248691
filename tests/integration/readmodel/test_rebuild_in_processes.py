"""A rebuild divided between two processes: the same rows, and whoever of them is killed, frozen or wrong, nothing is lost or held."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import psutil
import pytest
from barecount_contracts import Cause
from barecount_eventlog import Appender, KafkaSettings
from barecount_readmodel import Database, Projector, Rebuild, ShareLost

from tests.integration.eventlog.counter import NumberAdded, envelope_of
from tests.integration.eventlog.kit import create_topics, eventually, settings_of
from tests.integration.readmodel.kit import FailingView, MetView, NumbersView
from tests.support.forks import Forked, forked
from tests.support.servers import Kafka

PARTITIONS, EACH = 4, 30


@pytest.fixture
async def log(kafka: Kafka) -> tuple[KafkaSettings, str]:
    """Numbers in every partition of a topic, each partition of a tenant of its own."""
    settings = settings_of(kafka)
    (topic,) = await create_topics(settings, "numbers", partitions=PARTITIONS)
    appender = Appender(settings, "test")
    await appender.start()
    for number in range(PARTITIONS * EACH):
        partition = number % PARTITIONS
        event = envelope_of(NumberAdded(number=number, total=number), uuid4(), f"tenant{partition}")
        cause = Cause(topic="inbox", partition=partition, offset=number, index=0)
        await appender.append(topic, "key", event.model_copy(update={"cause": cause}), partition=partition)
    await appender.stop()
    return settings, topic


@asynccontextmanager
async def live(log: tuple[KafkaSettings, str], database: Database) -> AsyncIterator[None]:
    projector = Projector(kafka=log[0], database=database, service=database.service, views=[NumbersView(log[1])])
    await projector.start()
    await eventually(lambda: projector.ready)
    yield
    assert not projector.standing()
    await projector.stop()


def url_of(database: Database) -> str:
    return str(database.pool._connect_args[0])


def in_two(log: tuple[KafkaSettings, str], database: Database, view: Any, **more: Any) -> Rebuild:
    return Rebuild(log[0], url_of(database), database.service, [view], processes=2, spread=1, **more)


async def met(folder: Path) -> int:
    """The other process's pid, once it holds its rows' locks."""

    def pids() -> list[int]:
        return [int(file.stem) for file in folder.glob("*.pid")]

    await eventually(lambda: bool(pids()), 60)
    return pids()[0]


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def begun(log: tuple[KafkaSettings, str], database: Database, folder: Path) -> tuple[Forked, int]:
    """A rebuild as a process of its own, and the other process that it has begun."""
    (kafka, topic), url = log, url_of(database)
    told = (str(folder), url, kafka.bootstrap, kafka.username or "", kafka.password or "", database.service, topic)
    rebuild = await forked("tests.integration.readmodel.rebuild_in_processes", *told)
    return rebuild, await met(folder)


async def test_two_processes_make_the_same_rows_and_tell_of_them_as_one(
    log: tuple[KafkaSettings, str], database: Database, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    reports: list[Any] = []
    async with live(log, database):
        done = await in_two(log, database, MetView(str(tmp_path), log[1]), report=reports.append).run()
    assert await met(tmp_path) != os.getpid()
    assert done["differences"] == []
    assert done["tables"]["numbers"] == PARTITIONS * EACH
    assert done["events"] == PARTITIONS * EACH
    last = [said for said in reports if said["step"] == "projecting"][-1]
    assert (last["events"], last["total"], last["eta"]) == (PARTITIONS * EACH, PARTITIONS * EACH, 0)


async def test_what_a_view_raises_in_the_other_process_ends_the_rebuild_with_its_own_class(
    log: tuple[KafkaSettings, str], database: Database
) -> None:
    async with live(log, database):
        with pytest.raises(asyncpg.DivisionByZeroError, match="division by zero") as caught:
            await in_two(log, database, FailingView(log[1])).run()
        assert "In process" in caught.value.__notes__[0]
        assert not (await in_two(log, database, NumbersView(log[1])).run())["differences"]


async def test_the_other_process_is_killed(log: tuple[KafkaSettings, str], database: Database, tmp_path: Path) -> None:
    async with live(log, database):
        rebuild = asyncio.create_task(in_two(log, database, MetView(str(tmp_path), log[1])).run())
        os.kill(await met(tmp_path), signal.SIGKILL)
        with pytest.raises(ShareLost, match="ended with status -9 before it was done"):
            await rebuild
        assert not (await in_two(log, database, NumbersView(log[1])).run())["differences"]


async def test_the_other_process_stands_still_and_is_ended(
    log: tuple[KafkaSettings, str], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with live(log, database):
        rebuild = asyncio.create_task(in_two(log, database, MetView(str(tmp_path), log[1])).run())
        other = await met(tmp_path)
        os.kill(other, signal.SIGSTOP)
        with monkeypatch.context() as patch:
            patch.setattr("barecount_readmodel.spread.SILENT_SECONDS", 2)
            with pytest.raises(ShareLost, match="has said nothing for 2 s"):
                await rebuild
        assert not lives(other)
        assert not (await in_two(log, database, NumbersView(log[1])).run())["differences"]


async def test_a_rebuild_that_is_killed_takes_its_other_process_with_it(
    log: tuple[KafkaSettings, str], database: Database, tmp_path: Path
) -> None:
    async with live(log, database):
        rebuild, other = await begun(log, database, tmp_path)
        rebuild.kill()
        await eventually(lambda: not lives(other))
        assert not (await in_two(log, database, NumbersView(log[1])).run())["differences"]


async def test_a_frozen_process_of_a_killed_rebuild_does_not_hold_the_next_one_and_ends_when_it_thaws(
    log: tuple[KafkaSettings, str], database: Database, tmp_path: Path
) -> None:
    async with live(log, database):
        rebuild, other = await begun(log, database, tmp_path)
        os.kill(other, signal.SIGSTOP)
        try:
            rebuild.kill()
            await rebuild.wait()
            # its transaction is open, and holds the tables that go first: one that did not end it would be refused the lock
            done = await in_two(log, database, NumbersView(log[1])).run()
            assert done["differences"] == []
            assert lives(other), "it waited for the frozen one"
        finally:
            os.kill(other, signal.SIGCONT)
        await eventually(lambda: not lives(other))
