"""Owners as processes: started, killed, frozen and woken by a seeded dice."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from barecount_eventlog import KafkaSettings

from tests.support.forks import PIPE, Forked, forked


class Owners:
    """Every process of one test; all end with it."""

    def __init__(self, kind: str, given: dict[str, Any], kafka: KafkaSettings, log: Path) -> None:
        self._kind = kind
        self._given = json.dumps(given | {"kafka": dataclasses.asdict(kafka)})
        self._log = log
        self._all: list[Forked] = []

    async def start(self) -> Forked:
        """A process that has said it is ready. Raises: AssertionError with its last lines when it ends before."""
        with self._log.open("ab") as log:
            process = await forked("tests.chaos.eventlog.owner_process", self._kind, self._given, stdout=PIPE, stderr=log)
        self._all.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while b"ready" not in (line := await process.stdout.readline()):
                assert line or process.returncode is None, self._log.read_text()[-3000:]
                assert line, self._log.read_text()[-3000:]
        asyncio.get_running_loop().create_task(_drain(process.stdout))
        return process

    async def kill(self, process: Forked) -> None:
        process.kill()
        await process.wait()

    def freeze(self, process: Forked) -> None:
        process.send_signal(signal.SIGSTOP)

    def wake(self, process: Forked) -> None:
        process.send_signal(signal.SIGCONT)

    async def end(self) -> None:
        for process in self._all:
            if process.returncode is None:
                process.kill()
                await process.wait()

    @classmethod
    @asynccontextmanager
    async def of(cls, kind: str, kafka: KafkaSettings, **given: Any) -> AsyncIterator[Self]:
        with tempfile.TemporaryDirectory() as folder:
            owners = cls(kind, given, kafka, Path(folder) / "owners.log")
            try:
                yield owners
            finally:
                await owners.end()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass
