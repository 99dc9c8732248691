"""Python processes for tests, forked from one that has already imported what all of them use.

A service's imports cost more than a second of CPU, and tests that kill services start dozens. `python -m tests.support.forks <socket>` is
the parent: for each connection it forks one child that runs a module as `python -m` would, and tells its exit status over the same
connection. It never has a thread or a loop, and ends with the test run; its children end with it.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path(__file__).parents[2]
PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL
PR_SET_PDEATHSIG: Final = 1
APPS: Final = ("command", "execution", "lineage", "evidence", "webhooks", "streams", "worker")
BORN_SECONDS: Final = 60.0


class Forked:
    """One child: the part of asyncio.subprocess.Process that tests use. It leads a process group of its own."""

    def __init__(self, pid: int, line: socket.socket, stdout: asyncio.StreamReader | None) -> None:
        self.pid, self._line, self.stdout = pid, line, stdout
        self._status: int | None = None

    @property
    def returncode(self) -> int | None:
        """A negative number is a signal; None while it lives."""
        self._look(0)
        return self._status

    async def wait(self) -> int:
        return await asyncio.to_thread(self.wait_now)

    def wait_now(self, seconds: float = 600) -> int:
        """Raises: TimeoutError."""
        self._look(seconds)
        if self._status is None:
            raise TimeoutError(f"pid {self.pid} lives after {seconds:g} s")
        return self._status

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, seconds: float) -> None:
        if self._status is None and select.select([self._line], [], [], seconds)[0]:
            told = self._line.recv(64)
            # without a word: the parent itself is gone, and its children with it
            self._status = int(told) if told else -signal.SIGKILL
            self._line.close()


async def forked(
    module: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> Forked:
    """`python -m <module> <arguments>` in the repository's folder. stdout (also PIPE) and stderr: DEVNULL, a file, or None as here."""
    if stdout != PIPE:
        return forked_now(module, *arguments, env=env, stdout=stdout, stderr=stderr)
    out, into = os.pipe()
    try:
        made = forked_now(module, *arguments, env=env, stdout=into, stderr=stderr)
    finally:
        os.close(into)
    made.stdout = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(made.stdout)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(out, "rb"))
    return made


def forked_now(
    module: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> Forked:
    """The same where no loop runs; stdout may be an open file descriptor instead of PIPE."""
    with open(os.devnull, "wb") as nothing:

        def descriptor(chosen: int | IO[bytes] | None, default: int) -> int:
            if chosen is None:
                return default
            return nothing.fileno() if chosen == DEVNULL else chosen if isinstance(chosen, int) else chosen.fileno()

        line = socket.socket(socket.AF_UNIX)
        line.connect(_parent())
        order = {"module": module, "arguments": arguments, "env": dict(os.environ if env is None else env)}
        told = json.dumps(order).encode()
        socket.send_fds(line, [len(told).to_bytes(4, "big")], [descriptor(stdout, 1), descriptor(stderr, 2)])
    line.sendall(told)
    assert select.select([line], [], [], BORN_SECONDS)[0], f"no child for {module} within {BORN_SECONDS:g} s"
    return Forked(int.from_bytes(_exactly(line, 4), "big"), line, None)


_RUNNING: dict[int, str] = {}


def _parent() -> str:
    """The socket of this test run's parent; it is started by the first who asks."""
    if os.getpid() not in _RUNNING:
        folder = tempfile.mkdtemp(prefix="barecount-forks-")
        path = f"{folder}/s"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forks", path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "the parent of test processes did not start"
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        atexit.register(process.wait, 10)
        # its end of the pipe closes with this process, however that ends
        atexit.register(process.stdin.close)
        _RUNNING[os.getpid()] = path
    return _RUNNING[os.getpid()]


def _exactly(line: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = line.recv(count - len(found))
        assert part, "the other end is gone"
        found += part
    return found


def _serve(path: str) -> None:
    """The parent's life: one child a connection, until standard input ends."""
    from barecount_local.services import preload

    for name in APPS:
        __import__(f"barecount_{name}.app")
    preload()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    wake, poke = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(poke, warn_on_full_buffer=False)
    children: dict[int, socket.socket] = {}
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        ready, _, _ = select.select([0, listening, wake], [], [])
        if 0 in ready:
            return
        if wake in ready:
            os.read(wake, 512)
            while children:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                with children.pop(pid) as line, contextlib.suppress(OSError):
                    line.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        if listening in ready:
            line, _ = listening.accept()
            size, descriptors, _, _ = socket.recv_fds(line, 4, 2)
            order = json.loads(_exactly(line, int.from_bytes(size, "big")))
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                _live(order, descriptors)
            for one in descriptors:
                os.close(one)
            children[pid] = line
            with contextlib.suppress(OSError):
                line.sendall(pid.to_bytes(4, "big"))


def _live(order: dict[str, Any], descriptors: list[int]) -> None:
    """The child's whole life: it never returns into the parent's code."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, source in enumerate((nothing, *descriptors)):
            os.dup2(source, number)
        os.closerange(3, 256)
        os.environ.clear()
        os.environ.update(order["env"])
        sys.argv = [order["module"], *order["arguments"]]
        # as `python -m` does; the module itself may stand among the imported ones
        import runpy
        import warnings

        warnings.simplefilter("ignore", RuntimeWarning)
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
