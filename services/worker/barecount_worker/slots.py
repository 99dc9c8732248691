"""The worker's side of its slots: a process each, started with the first task, kept warm, ended when idle or grown."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from barecount_contracts import Heading

from . import telemetry
from .slot.wire import LONGEST_LINE, decode, encode

STOP_SECONDS: Final = 5.0
RECYCLED_ABOVE: Final = 600 * 1024 * 1024
# of the worker's environment: no password, no key's place, nothing of BARECOUNT_
_HANDED_ON: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH")

OnMessage = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ended:
    """The work came to an end: `result` as in wire.py, `failure` None when it succeeded."""

    result: dict[str, Any]
    failure: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Crashed:
    """The process ended without a word about the work."""

    how: str


class SlotProcess:
    """One slot. One attempt at a time."""

    def __init__(self, lake: Path, memory: str, idle_seconds: float) -> None:
        self._lake, self._memory, self._idle_seconds = lake, memory, idle_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._endings: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def work(self, envelope: Heading, nonce: str, on_message: OnMessage) -> Ended | Crashed:
        """Hands one attempt over and passes on what it says until it ends. Crashes are told, not raised."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            ended = await self._converse(envelope, nonce, on_message)
        except BaseException:
            self.kill_now()
            await self._close()
            raise
        if isinstance(ended, Ended) and self._process is not None:
            self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._begin_to_end)
        return ended

    def stop(self, nonce: str, reason: str) -> None:
        """Asks the work to stop; it ends as a failure `interrupted`, or as what it had already become."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode({"is": "stop", "nonce": nonce, "reason": reason}))

    def kill_now(self) -> None:
        """Ends the process at once; work under way crashes."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def close(self) -> None:
        """Lets an idle process end."""
        await self._close()
        if self._endings:
            await asyncio.gather(*self._endings)

    async def _converse(self, envelope: Heading, nonce: str, on_message: OnMessage) -> Ended | Crashed:
        if self._process is None:
            await self._start()
        assert self._writer is not None
        assert self._reader is not None
        try:
            self._writer.write(encode({"is": "order", "envelope": envelope.model_dump(mode="json", exclude_none=True)}))
            await self._writer.drain()
            while line := await self._reader.readline():
                message = decode(line)
                if message["is"] != "end":
                    await on_message(message)
                    continue
                if message["bytes"] > RECYCLED_ABOVE:
                    await self._close()
                return Ended(message["result"], message["failure"])
        except (ConnectionError, ValueError):
            # ValueError: half a line, or one that is too long
            pass
        return await self._crashed()

    async def _crashed(self) -> Crashed:
        process = self._process
        assert process is not None
        if process.returncode is None:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
        code = await process.wait()
        await self._close()
        telemetry.SLOT_CRASHES.inc()
        return Crashed(_how(code))

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "barecount_worker.slot",
                str(theirs.fileno()),
                str(self._lake),
                self._memory,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # what native code prints belongs beside the worker's own errors
                env={name: os.environ[name] for name in _HANDED_ON if name in os.environ},
            )
            self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=LONGEST_LINE)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        telemetry.logger().info(telemetry.SLOT_STARTED, slot_pid=self._process.pid)

    def _begin_to_end(self) -> None:
        task = asyncio.create_task(self._close())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _close(self) -> None:
        """Closes the socket, which ends the process, and waits for it; the next task finds a new one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        process, writer = self._process, self._writer
        self._process = self._reader = self._writer = None
        if writer is not None:
            writer.close()
        if process is None:
            return
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        telemetry.logger().info(telemetry.SLOT_ENDED, slot_pid=process.pid, exit_code=process.returncode)


class Slots:
    """All slots of a worker. A task waits for one only for the moment in which its predecessor's end is on its way."""

    def __init__(self, count: int, lake: Path, memory: str, idle_seconds: float) -> None:
        self.count = count
        self._all = [SlotProcess(lake, memory, idle_seconds) for _ in range(count)]
        # the one that worked last is taken first: it is warm, and the others may end
        self._free: asyncio.LifoQueue[SlotProcess] = asyncio.LifoQueue()
        for slot in self._all:
            self._free.put_nowait(slot)
        telemetry.SLOTS.set(count)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[SlotProcess]:
        slot = await self._free.get()
        telemetry.BUSY.inc()
        try:
            yield slot
        finally:
            telemetry.BUSY.dec()
            self._free.put_nowait(slot)

    async def close(self) -> None:
        await asyncio.gather(*(slot.close() for slot in self._all))


def _how(code: int) -> str:
    if code >= 0:
        return f"the slot's process ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the slot's process ended by {name}" + ("; the machine may be out of memory" if name == "SIGKILL" else "")
