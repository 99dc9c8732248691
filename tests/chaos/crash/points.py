"""Crash points: every place where a task under test waits, counted and named, and the signal that the process sends itself at one of them.

A task factory wraps the coroutines of watched tasks. Each `send` that yields is one await point. Its name is the chain of the product's own
frames that wait there, `owner.py:227 > writer.py:85`, and behind `|` the library's frame at the end, `| transaction_manager.py:88`.
For code that never waits (a Delta commit) a line of its module is such a point, and each audited file operation in the lake.
"""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[3]
OWN = (str(ROOT / "libs"), str(ROOT / "services"))
# a fault at the n-th point, whichever it is
ANY = "*"
FILE_OPERATIONS = frozenset({"open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "shutil.copyfile"})


@dataclass(frozen=True)
class Fault:
    """At the `turn`-th time that a process comes to `point` it sends itself `signal`: KILL or STOP."""

    signal: str
    point: str
    turn: int

    def fits(self, name: str) -> bool:
        """`*`: any point; `writer.py:105…`: one that begins so."""
        return self.point in (ANY, name) or (self.point.endswith("…") and name.startswith(self.point[:-1]))

    def __str__(self) -> str:
        return f"{self.signal} at «{self.point}» #{self.turn}"

    @classmethod
    def read(cls, text: str) -> Fault:
        """From what `str` gives, so that a failure's line repeats it."""
        kind, _, rest = text.partition(" at «")
        point, _, turn = rest.rpartition("» #")
        return cls(kind, point, int(turn))


class Points:
    """Counts what a process comes by. told: hears of the fault before the signal falls."""

    def __init__(self, fault: Fault | None, told: Callable[[str], None]) -> None:
        self.seen: Counter[str] = Counter()
        self._fault, self.told, self._met = fault, told, 0

    def at(self, name: str) -> None:
        self.seen[name] += 1
        fault = self._fault
        if fault is None or not fault.fits(name):
            return
        self._met += 1
        if self._met == fault.turn:
            self._fault = None
            self.told(name)
            os.kill(os.getpid(), getattr(signal, f"SIG{fault.signal}"))

    def watch(self, loop: asyncio.AbstractEventLoop, tasks: Collection[str]) -> None:
        """Counts in every task whose coroutine's qualified name begins with one of `tasks`."""
        wanted = tuple(tasks)

        def factory(loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
            watched = getattr(coro, "__qualname__", "").startswith(wanted)
            return asyncio.Task(Watched(coro, self) if watched else coro, loop=loop, **more)

        loop.set_task_factory(factory)

    def watch_lines(self, files: Collection[str], folder: Path) -> None:
        """Counts every line of these source files and every audited file operation below `folder`, in this thread."""
        place = str(folder)

        def line(frame: FrameType, event: str, arg: object) -> Any:
            if event == "line":
                self.at(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
            return line

        def call(frame: FrameType, event: str, arg: object) -> Any:
            return line if frame.f_code.co_filename.endswith(tuple(files)) else None

        def audited(event: str, args: tuple[Any, ...]) -> None:
            if event in FILE_OPERATIONS and str(args[0]).startswith(place):
                self.at(f"{event} {str(args[0])[len(place) :].count('/')} deep")

        sys.addaudithook(audited)
        sys.settrace(call)


class Watched(Coroutine[Any, Any, Any]):
    """A coroutine that reports where it waits."""

    def __init__(self, inner: Any, points: Points) -> None:
        self._inner, self._points = inner, points
        self.__qualname__ = inner.__qualname__

    def send(self, value: Any) -> Any:
        waits = self._inner.send(value)
        self._points.at(named(self._inner))
        return waits

    def throw(self, *error: Any) -> Any:
        waits = self._inner.throw(*error)
        self._points.at(named(self._inner))
        return waits

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError("a task's coroutine is sent to, not awaited")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def named(coro: Any) -> str:
    """The chain of frames in which a suspended coroutine waits."""
    own, foreign = [], ""
    while coro is not None:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None)
        if frame is not None:
            place = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
            if frame.f_code.co_filename.startswith(OWN):
                own.append(place)
                foreign = ""
            elif "/asyncio/" not in frame.f_code.co_filename:
                foreign = place
        coro = getattr(coro, "cr_await", None) or getattr(coro, "gi_yieldfrom", None)
    chain = " > ".join(own)
    return f"{chain} | {foreign}" if foreign else chain


def frames_of(point: str) -> list[str]:
    """The product's own frames in a point's name."""
    return point.partition(" | ")[0].split(" > ")


def line_of(module: str, text: str) -> str:
    """`track.py:115`: the one line of a module that awaits this."""
    path = ROOT / module
    [line] = [number for number, one in enumerate(path.read_text().splitlines(), 1) if f"await {text}" in one]
    return f"{path.name}:{line}"


@dataclass(frozen=True, slots=True)
class Await:
    """One await of a module under test, from its first to its last line."""

    file: str
    first: int
    last: int
    within: str
    what: str

    @property
    def name(self) -> str:
        """`owner.py:149 Owner._take_over: writer.open()`."""
        return f"{self.file}:{self.first} {self.within}: {self.what}"

    def holds(self, frame: str) -> bool:
        """Whether a frame of a crash point, `owner.py:149`, stands here."""
        file, _, line = frame.partition(":")
        return file == self.file and self.first <= int(line) <= self.last


def awaits_of(*modules: str) -> list[Await]:
    """Every await of these source files: the list against which a run is measured. `async with asyncio.timeout` alone waits for nothing."""
    return [found for module in modules for found in _awaits(ROOT / module, ast.parse((ROOT / module).read_text()), ())]


def _awaits(path: Path, node: ast.AST, within: tuple[str, ...]) -> Iterator[Await]:
    for child in ast.iter_child_nodes(node):
        named_here = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        yield from _awaits(path, child, (*within, child.name) if named_here else within)  # type: ignore[attr-defined]
        if isinstance(child, ast.Await):
            what, last = ast.unparse(child.value), child.end_lineno
        elif isinstance(child, ast.AsyncFor):
            what, last = ast.unparse(child.iter), child.body[0].lineno - 1
        elif isinstance(child, ast.AsyncWith) and not ast.unparse(child.items[0]).startswith("asyncio.timeout("):
            what, last = ast.unparse(child.items[0].context_expr), child.body[0].lineno - 1
        else:
            continue
        yield Await(path.name, child.lineno, max(child.lineno, last or 0), ".".join(within), what)
