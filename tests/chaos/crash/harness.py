"""The test's side: processes born in the nursery, told to die or to freeze at a crash point, and a relay race of them over one log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.chaos.crash.points import ANY, ROOT, Fault, frames_of

# CI takes one seed a kind; BARECOUNT_CHAOS_SEEDS counts over all kinds
KINDS = 5
SEEDS = max(1, -(-int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1")) // KINDS))
FAULTS = 3
BORN_SECONDS = 30.0
# a point that is not met by then is met by nobody: the process goes on as the owner, and is killed where it stands
MEET_SECONDS = 6.0


# what a first process comes by, and what one comes by that takes over: point -> how often
Scouted = list[Counter[str]]


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

    async def kill(self) -> None:
        self.send(signal.SIGKILL)
        await self.until(lambda: self.gone, 10, "end after SIGKILL")


class Nursery:
    """`async with Nursery.open()`. hits: (kind, signal, point) of every fault that was met in this session; missed: how many were not."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process, self._log = process, log
        self._numbers, self._waiting = count(1), dict[str, Process]()
        self.hits: Counter[tuple[str, str, str]] = Counter()
        self.missed = 0
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
        await made.until(lambda: made.heard("ready") or made.gone, BORN_SECONDS, "get ready")
        assert not made.gone, self._log.read_text()[-4000:]
        return made

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


def faults_of(kind: str, seed: int, scouted: Scouted, few: int = 2, before: Collection[str] = ()) -> list[Fault]:
    """The faults of a seed, both signals in turn: three, or as CI takes one seed only, a `few`. Without scouts any n-th point is taken.

    before: the points that are taken before the others.
    """
    faults = FAULTS if SEEDS > 1 else few
    asked = os.environ.get("BARECOUNT_CHAOS_FAULTS")
    if asked:
        return [Fault.read(one) for one in asked.split(" ; ")]
    dice = random.Random(f"{kind} {seed}")
    if not scouted:
        signals = ["KILL", "STOP"] * faults
        if dice.random() < 0.5:
            signals.reverse()
        return [Fault(signals[number], ANY, int(10 ** dice.uniform(0.5, 3.0))) for number in range(faults)]
    found = []
    for number in range(faults):
        # the first process comes by other points than those that take over; all of these share the last scout's
        scout = min(number, len(scouted) - 1)
        sharing = faults - scout if scout == len(scouted) - 1 else 1
        known = scouted[scout]
        names = in_turn(known, before)
        turn = seed * sharing + number - scout
        name = names[turn % len(names)]
        # with the other signal in the next round
        kind_of_end = ("KILL", "STOP")[(turn + turn // len(names)) % 2]
        found.append(Fault(kind_of_end, name, dice.randint(1, max(1, min(4, known[name])))))
    return found


def in_turn(points: Iterable[str], before: Collection[str] = ()) -> list[str]:
    """In the order in which seeds take them: those of `before`, then those that stand at an await at which none before them does."""
    ordered = sorted(point for point in points if point)
    # in an order that has nothing to do with the way of the work, so that few seeds are spread over it
    random.Random(0).shuffle(ordered)
    ordered.sort(key=lambda point: point not in before)
    first, others, known = list[str](), list[str](), set[str]()
    for point in ordered:
        frames = set(frames_of(point))
        (others if frames <= known else first).append(point)
        known |= frames
    return first + others


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
        point = await victim.met(meet)
        if point is None:
            nursery.missed += 1
            await victim.kill()
            continue
        nursery.hits[kind, fault.signal, point] += 1
        if fault.signal == "STOP":
            frozen.append(victim)
    last = await nursery.ready(kind, given)
    await works()
    for zombie in frozen:
        zombie.send(signal.SIGCONT)
    await works()
    return last, frozen


def repeat(kind: str, seed: int, faults: list[Fault]) -> str:
    """What a failure says, so that somebody can see it again."""
    told = " ; ".join(map(str, faults))
    return f"{kind}, seed {seed}. Again: BARECOUNT_CHAOS_FAULTS='{told}' pytest tests/chaos/crash -k '{kind} and {seed}'"
