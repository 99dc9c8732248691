"""Owners as processes: started, killed, frozen and woken by a seeded dice."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from barecount_eventlog import KafkaSettings

ROOT = Path(__file__).parents[3]


class Owners:
    """Every process of one test; all end with it."""

    def __init__(self, kind: str, given: dict[str, Any], kafka: KafkaSettings, log: Path) -> None:
        self._command = [sys.executable, "-m", "tests.chaos.eventlog.owner_process", kind]
        self._given = json.dumps(given | {"kafka": dataclasses.asdict(kafka)})
        self._log = log
        self._all: list[asyncio.subprocess.Process] = []

    async def start(self) -> asyncio.subprocess.Process:
        """A process that has said it is ready. Raises: AssertionError with its last lines when it ends before."""
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command, self._given, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        self._all.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while b"ready" not in (line := await process.stdout.readline()):
                assert line or process.returncode is None, self._log.read_text()[-3000:]
                assert line, self._log.read_text()[-3000:]
        asyncio.get_running_loop().create_task(_drain(process.stdout))
        return process

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        process.kill()
        await process.wait()

    def freeze(self, process: asyncio.subprocess.Process) -> None:
        process.send_signal(signal.SIGSTOP)

    def wake(self, process: asyncio.subprocess.Process) -> None:
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
