"""The daemon of one data folder: starts the stack, restarts what dies, ends everything on SIGTERM.

One thread and no event loop, because services are forked from it at any time. Started by `launch`, which hears of its progress
through a pipe; `python -m barecount_local.supervisor <fd>` is the process itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import errors, record
from .errors import AlreadyRunning, NotReady, Refusing, StackError
from .settings import StackSettings
from .waiting import until

STOP_SECONDS = 90.0


def launch(settings: StackSettings) -> Iterator[dict[str, Any]]:
    """Starts the daemon, detached from the terminal, and yields its progress: {"step", "state", "seconds"}, at last {"state": "ready"}.

    Raises AlreadyRunning, and StackError with the daemon's own words when the start failed.
    """
    try:
        settings.logs.mkdir(parents=True, exist_ok=True)
        log = (settings.logs / "supervisor.log").open("ab")
    except OSError as error:
        raise StackError(
            f"cannot write to {settings.data_dir}: {error.strerror}. Choose another with BARECOUNT_DATA_DIR=<folder>"
        ) from error
    if held(settings.lock):
        raise AlreadyRunning(f"a stack runs in {settings.data_dir} already")
    out, into = os.pipe()
    with log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "barecount_local.supervisor", str(into)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(into,),
            start_new_session=True,
            env={**os.environ, "BARECOUNT_DATA_DIR": str(settings.data_dir)},
        )
    os.close(into)
    with os.fdopen(out) as lines:
        for line in lines:
            said = json.loads(line)
            if said["state"] == "failed":
                raise getattr(errors, said["kind"], StackError)(said["message"])
            yield said
            if said["state"] == "ready":
                return
    raise StackError(f"the supervisor (pid {daemon.pid}) ended before the stack was ready: see {settings.logs / 'supervisor.log'}")


def held(lock: Path) -> bool:
    """Whether a supervisor holds the data folder."""
    try:
        with lock.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def shut_down(settings: StackSettings) -> list[str]:
    """Ends the stack of the folder and waits until all of it is gone. Returns what it ended; empty when nothing ran.

    Raises NotReady when something does not go.
    """
    before = record.read(settings.record)
    ended = [one["name"] for one in record.living(before)]
    if record.supervisor_lives(before) and held(settings.lock):
        os.kill(before["supervisor"]["pid"], signal.SIGTERM)
        until(
            lambda: not held(settings.lock),
            what="the supervisor to end the stack",
            seconds=STOP_SECONDS,
            log=settings.logs / "supervisor.log",
        )
    elif held(settings.lock):
        raise NotReady(f"a supervisor holds {settings.lock} but is not yet on record: it is starting, try again in a moment")
    # those of a supervisor that was killed, and any that outlived it
    record.end_orphans(record.read(settings.record))
    after = record.read(settings.record)
    if after and after.get("state") != "stopped":
        record.write(settings.record, {**after, "state": "stopped", "processes": []})
    return ended


def run(settings: StackSettings, pipe: int) -> int:
    """The daemon's life. Returns its exit status."""
    # the daemon alone needs the services' libraries: `up` and `down` would wait a second for them
    from .stack import Stack

    def say(**words: Any) -> None:
        try:
            os.write(pipe, json.dumps(words).encode() + b"\n")
        except OSError:
            # whoever waited has gone: the stack starts all the same
            return

    lock = _take(settings, say)
    if lock is None:
        return 1
    wake, poke = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(poke, warn_on_full_buffer=False)
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: asked.append(got))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def progress(step: str, state: str, seconds: float) -> None:
        if asked:
            raise StackError("asked to stop while starting")
        say(step=step, state=state, seconds=round(seconds, 2))

    stack = Stack(settings, progress, closing=(lock, pipe, wake, poke))
    status = 0
    try:
        try:
            stack.start()
            say(state="ready")
            _log("ready")
        except Refusing as refusing:
            say(state="failed", kind=type(refusing).__name__, message=str(refusing))
            _log(f"refused: {refusing}")
        os.close(pipe)
        while not asked:
            stack.tend()
            select.select([wake], [], [], stack.next_due())
            while _drain(wake):
                pass
    except StackError as error:
        _log(f"failed: {error}")
        status, failure = 1, {"state": "failed", "kind": type(error).__name__, "message": str(error)}
    except Exception as error:
        traceback.print_exc()
        status, failure = 1, {"state": "failed", "kind": "bug", "message": f"{type(error).__name__}: {error} (a bug: see supervisor.log)"}
    _log("stopping")
    try:
        stack.stop()
    finally:
        if status:
            say(**failure)
    _log("stopped")
    return status


def _take(settings: StackSettings, say: Any) -> int | None:
    lock = os.open(settings.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(state="failed", kind="AlreadyRunning", message=f"a stack runs in {settings.data_dir} already")
        return None
    return lock


def _drain(wake: int) -> bool:
    try:
        return bool(os.read(wake, 512))
    except BlockingIOError:
        return False


def _log(words: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {words}", flush=True)


if __name__ == "__main__":
    os.set_inheritable(int(sys.argv[1]), False)
    sys.exit(run(StackSettings.of(), int(sys.argv[1])))
