"""Shares of a rebuild side by side: the first in this process, each other in one that hears of its end and whose end is heard."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any, Final, Self

import structlog
from barecount_chassis import settle_collector

from .database import Database
from .errors import ShareLost
from .shares import CONNECTIONS, Share, opened, projected

BEAT_SECONDS: Final = 0.2
# one that is frozen says nothing; the longest statement ends after a minute too
SILENT_SECONDS: Final = 60


async def spread(shares: Sequence[Share], database: Database, report: Callable[[int], None]) -> int:
    """Projects all of them, the first in this process and each other in one of its own; returns how many records that were.

    Raises: what the first that failed raised, and ShareLost; every other process has ended then.
    """
    mine, *rest = shares
    done = dict.fromkeys(range(len(shares)), 0)

    def told(number: int) -> Callable[[int], None]:
        def tell(records: int) -> None:
            done[number] = records
            report(sum(done.values()))

        return tell

    with ExitStack() as stack:
        others = [stack.enter_context(Other(share, told(number))) for number, share in enumerate(rest, 1)]
        try:
            async with asyncio.TaskGroup() as group:
                for other in others:
                    group.create_task(other.ended())
                group.create_task(projected(mine, database, told(0)))
        except ExceptionGroup as several:
            # the first one ended the others. Not except*: before 3.11.4 what is raised in one is wrapped in a group again
            raise several.exceptions[0] from several
    return sum(done.values())


class Other:
    """A process with a share, from `with` to its end. Never a fork: a running loop and open connections would go with it.

    tell: is called with the number of records done. Raises what pickle raises when a view does not go through it.
    """

    def __init__(self, share: Share, tell: Callable[[int], None]) -> None:
        self._share, self._tell = share, tell
        self._heard = 0

    def __enter__(self) -> Self:
        spawn = multiprocessing.get_context("spawn")
        self._line, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_live, args=(self._share, theirs), name=f"rebuild of {self._share.service}", daemon=True)
        with theirs:
            self._process.start()
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._line.fileno(), self._hear)
        return self

    def __exit__(self, *exc: object) -> None:
        """Kills it, frozen or not: what it has committed stays, the rest rolls back."""
        self._loop.remove_reader(self._line.fileno())
        if self._outcome.done():
            # looked at, so that nothing is logged as never retrieved
            self._outcome.exception()
        self._process.kill()
        self._process.join()
        self._process.close()
        self._line.close()

    async def ended(self) -> None:
        """Until its share is projected. Raises: what it raised there; ShareLost when it died, or says nothing any more."""
        silent = 0
        while not self._outcome.done():
            heard = self._heard
            await asyncio.wait({self._outcome}, timeout=1)
            # counted, not measured: when this process was frozen too, nobody was silent
            silent = silent + 1 if self._heard == heard else 0
            if silent >= SILENT_SECONDS:
                raise ShareLost(self._share.service, self._process.pid, f"has said nothing for {SILENT_SECONDS} s")
        self._outcome.result()

    def _hear(self) -> None:
        self._heard += 1
        try:
            said = self._line.recv()
        except (EOFError, OSError):
            self._process.join(5)
            said = ShareLost(self._share.service, self._process.pid, f"ended with status {self._process.exitcode} before it was done")
        if isinstance(said, int):
            return self._tell(said)
        self._loop.remove_reader(self._line.fileno())
        if isinstance(said, _Done):
            self._tell(said.records)
            return self._outcome.set_result(None)
        self._outcome.set_exception(said if isinstance(said, Exception) else said.revived())


class _Done:
    def __init__(self, records: int) -> None:
        self.records = records


class _Named:
    """An error that does not go through pickle: its class's name and its words."""

    def __init__(self, error: Exception) -> None:
        self._name, self._words, self._notes = type(error).__name__, str(error) or repr(error), error.__notes__

    def revived(self) -> Exception:
        error: Exception = type(self._name, (Exception,), {})(self._words)
        for note in self._notes:
            error.add_note(note)
        return error


def _live(share: Share, line: Connection[Any, Any]) -> None:
    """The other process's whole life."""
    # standard output is for the reports of who started it, who also hears the keyboard
    os.dup2(2, 1)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    settle_collector()
    try:
        said: object = _Done(asyncio.run(_project(share, line)))
    except Exception as error:
        said = _sendable(error)
    with contextlib.suppress(OSError):
        line.send(said)


def _end_with(line: Connection[Any, Any]) -> None:
    """Nothing is ever said to it, so that what comes is the end of who started it: no statement may follow."""
    with contextlib.suppress(EOFError, OSError):
        line.recv()
    os._exit(1)


async def _project(share: Share, line: Connection[Any, Any]) -> int:
    done = 0

    def tell(records: int) -> None:
        nonlocal done
        done = records

    async def beat() -> None:
        while True:
            line.send(done)
            await asyncio.sleep(BEAT_SECONDS)

    database = await opened(share.url, share.service, min(CONNECTIONS, len(share.goal)))
    # it stands; were it gone, this process would be late, and must not make it again
    database.schema, database.bare = share.schema, share.bare
    beating = asyncio.create_task(beat())
    try:
        await projected(share, database, tell)
    finally:
        beating.cancel()
        await database.close()
    return done


def _sendable(error: Exception) -> object:
    error.add_note(f"In process {os.getpid()} of the rebuild:\n{traceback.format_exc()}")
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:
        return _Named(error)
    return error if type(again) is type(error) and str(again) == str(error) else _Named(error)
