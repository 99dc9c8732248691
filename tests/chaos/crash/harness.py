"""The test's side: processes born in the nursery, told to die or to freeze at a crash point, and a relay race of them over one log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from tests.chaos.crash.choice import Choice
from tests.chaos.crash.points import ROOT, Fault

BORN_SECONDS = 30.0
# a point that is not met by then is met by nobody: the process goes on as the owner, and is killed where it stands
MEET_SECONDS = 6.0


@dataclass
class Process:
    """One child. said: what it told, in order. gone: set at its end."""

    name: str
    pid: int = 0
    said: list[dict[str, Any]] = field(default_factory=list)
    gone: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    writer: asyncio.StreamWriter | None = None

    def heard(self, what: str) -> dict[str, Any] | None:
        return next((one for one in reversed(self.said) if one["is"] == what), None)

    async def until(self, look: Callable[[], Any], seconds: float, what: str) -> Any:
        try:
            async with asyncio.timeout(seconds):
                while not (found := look()):
                    self.changed.clear()
                    await self.changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"{self.name} (pid {self.pid}) did not {what} in {seconds:g} s; it said {self.said[-5:]}") from None

    async def met(self, seconds: float = MEET_SECONDS) -> str | None:
        """The point of its fault once it is dead or frozen there; None when it did not come by."""
        with contextlib.suppress(AssertionError):
            await self.until(lambda: self.heard("at") or self.gone, seconds, "meet its fault")
        told = self.heard("at")
        return None if told is None else str(told["point"])

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if not self.gone:
                os.kill(self.pid, number)

    async def points(self) -> Counter[str]:
        """Ends it and gives what it came by."""
        assert self.writer is not None
        self.writer.write_eof()
        await self.until(lambda: self.heard("seen"), 10, "tell its points")
        return Counter(self.heard("seen")["points"])  # type: ignore[index]

    async def waits(self) -> list[str]:
        """Where each of its tasks waits; for a failure's words."""
        self.send(signal.SIGUSR1)
        with contextlib.suppress(AssertionError):
            await self.until(lambda: self.heard("waits"), 5, "tell where it waits")
        told = self.heard("waits")
        return list(told["at"]) if told else ["it does not answer"]

    async def kill(self) -> None:
        self.send(signal.SIGKILL)
        await self.until(lambda: self.gone, 10, "end after SIGKILL")


class Nursery:
    """`async with Nursery.open()`. hits: (kind, signal, point) of every fault that was met in this session; missed: those that were not."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process, self._log = process, log
        self._numbers, self._waiting = count(1), dict[str, Process]()
        self.hits: Counter[tuple[str, str, str]] = Counter()
        self.missed: list[str] = []
        self._choices: dict[str, Choice] = {}
        # by kind, what processes came by; and the points of a publish, which are no awaits
        self.seen: dict[str, set[str]] = defaultdict(set)
        self.lines: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Nursery]:
        with tempfile.TemporaryDirectory() as folder:
            path, log = Path(folder) / "wire", Path(folder) / "children.log"
            with log.open("ab") as out:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tests.chaos.crash.nursery", str(path),
                    cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=out, stderr=out,
                )  # fmt: skip
            nursery = cls(process, log)
            server = await asyncio.start_unix_server(nursery._hear, path)
            try:
                yield nursery
            finally:
                process.kill()
                await process.wait()
                server.close()

    async def start(self, kind: str, given: dict[str, Any], fault: Fault | None = None) -> Process:
        """A process of this kind, from its birth on."""
        made = Process(f"{kind}-{next(self._numbers)}")
        self._waiting[made.name] = made
        order = {"kind": kind, "name": made.name, "given": given, "fault": str(fault) if fault else None}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await made.until(lambda: made.pid, BORN_SECONDS, f"come to life; {self._log.read_text()[-2000:]}")
        return made

    async def ready(self, kind: str, given: dict[str, Any]) -> Process:
        """A process without a fault that says it is ready."""
        made = await self.start(kind, given)
        try:
            await made.until(lambda: made.heard("ready") or made.gone, BORN_SECONDS, "get ready")
        except AssertionError as late:
            where, sessions = await made.waits(), await sessions_of(database_of(given))
            raise AssertionError(f"{late}; its tasks wait at {where}; the database's sessions: {sessions}") from None
        assert not made.gone, self._log.read_text()[-4000:]
        return made

    def choice(self, kind: str) -> Choice:
        """Which faults processes of this kind have next."""
        return self._choices.setdefault(kind, Choice(kind))

    async def meets(self, kind: str, victim: Process, fault: Fault, seconds: float) -> bool:
        """Whether it died or froze at its fault by then; a miss is noted."""
        point = await victim.met(seconds)
        if point is None:
            self.missed.append(f"{kind}: {fault}")
            self.choice(kind).missed(fault)
            return False
        self.hits[kind, fault.signal, point] += 1
        return True

    def log(self) -> str:
        return self._log.read_text()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        born = json.loads(await reader.readline())
        process = self._waiting.pop(born["name"])
        process.pid, process.writer = born["pid"], writer
        process.changed.set()
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                process.said.append(told := json.loads(line))
                if told["is"] == "seen":
                    self.seen[process.name.rpartition("-")[0]] |= told["points"].keys()
                process.changed.set()
        process.gone = True
        process.changed.set()
        writer.close()


async def race(
    nursery: Nursery,
    kind: str,
    given: dict[str, Any],
    faults: list[Fault],
    works: Callable[[], Awaitable[None]],
    meet: float = MEET_SECONDS,
) -> tuple[Process, list[Process]]:
    """Each process meets its fault and the next one takes over; the last has none, and the frozen wake while it works.

    works: returns when somebody has done more work than before the call. Gives the last and the woken.
    """
    frozen = []
    for fault in faults:
        victim = await nursery.start(kind, given, fault)
        if not await nursery.meets(kind, victim, fault, meet):
            await victim.kill()
        elif fault.signal == "STOP":
            frozen.append(victim)
    last = await nursery.ready(kind, given)
    await works()
    for zombie in frozen:
        zombie.send(signal.SIGCONT)
    await works()
    return last, frozen


def database_of(given: Mapping[str, Any]) -> str | None:
    """The address of the database that a process was given, if it has one."""
    return given.get("database") or given.get("settings", {}).get("database_url")


async def sessions_of(database: str | None) -> list[dict[str, Any]]:
    """Who is at work in a database and behind whom they wait; for a failure's words."""
    if database is None:
        return []
    conn = await asyncpg.connect(database)
    try:
        rows = await conn.fetch(
            "SELECT pid, state, wait_event, now() - state_change AS since, pg_blocking_pids(pid) AS behind, query "
            "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        return [dict(row) for row in rows]
    finally:
        conn.terminate()
