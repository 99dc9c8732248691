"""`python -m barecount_worker.slot <socket fd> <lake> <memory>`: takes orders, one after the other, until the socket closes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from barecount_contracts import Envelope, RunTask

from barecount_worker.domain.failure import ErrorType, StageFailed
from barecount_worker.domain.lake import Lake
from barecount_worker.domain.stage import DeadLetter, StageResult
from barecount_worker.domain.stop import Stop

from .narrator import Narrator
from .order import stage_task
from .wire import RESULT_FIELDS, UNEXPECTED, decode, encode

_PR_SET_PDEATHSIG = 1


class Slot:
    """Works in the main thread; a second thread listens, so that a stop reaches a running query at once."""

    def __init__(self, channel: socket.socket, lake: Path, memory: str) -> None:
        self._channel, self._lake, self._memory = channel, lake, memory
        self._orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._stops: dict[str, Stop] = {}
        self._sending = threading.Lock()

    def run(self) -> None:
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        while True:
            self._do(self._orders.get())

    def _listen(self) -> None:
        with contextlib.suppress(OSError), self._channel.makefile("rb") as lines:
            for line in lines:
                message = decode(line)
                if message["is"] == "order":
                    self._stops[message["envelope"]["data"]["task"]["nonce"]] = Stop()
                    self._orders.put(message)
                elif message["nonce"] in self._stops:
                    self._stops[message["nonce"]].set(message["reason"])
        # nobody is there to be told: whatever runs is not wanted, and native code need not be asked
        os._exit(0)

    def _do(self, message: dict[str, Any]) -> None:
        envelope = Envelope.model_validate(message["envelope"])
        order = envelope.payload()
        assert isinstance(order, RunTask)
        narrator = Narrator(self._tell)
        result, failure = self._outcome(envelope, order, narrator)
        narrator.end(result)
        del self._stops[order.task.nonce]
        self._send(
            {
                "is": "end",
                "nonce": order.task.nonce,
                "result": _reported(result),
                "failure": failure,
                "bytes": _memory_of_this_process(),
            }
        )

    def _outcome(self, envelope: Envelope, order: RunTask, narrator: Narrator) -> tuple[StageResult, dict[str, Any] | None]:
        try:
            return self._work(envelope, order, narrator, self._stops[order.task.nonce]), None
        except StageFailed as error:
            return error.result, {"error_type": error.error_type.value, "message": error.message, "retriable": error.retriable}
        except Exception as error:  # a bug of this release or of an engine: the attempt fails, and says with what
            traceback.print_exc()
            failure = {"error_type": UNEXPECTED, "message": f"{type(error).__name__}: {error}", "retriable": True}
            narrator.log("error", "stage-failed", **failure)
            return StageResult(), failure

    def _work(self, envelope: Envelope, order: RunTask, narrator: Narrator, stop: Stop) -> StageResult:
        from barecount_worker.adapters.executor import execute, execute_fence

        def dead_letter(letter: DeadLetter) -> None:
            narrator.dead_letter(letter)
            self._send({"is": "dead", **asdict(letter)})

        try:
            task = stage_task(envelope, order)
            lake = Lake(self._lake, task.tenant, task.environment)
        except StageFailed as error:
            narrator.log("error", "stage-failed", error_type=error.error_type.value, message=error.message, retriable=error.retriable)
            raise
        except ValueError as error:
            narrator.log("error", "stage-failed", error_type=ErrorType.TASK_INVALID.value, message=str(error), retriable=False)
            raise StageFailed(ErrorType.TASK_INVALID, str(error)) from error
        if order.purpose == "fence":
            return execute_fence(task, lake, narrator.log, stop)
        return execute(task, lake, narrator.log, dead_letter, stop, self._memory)

    def _tell(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self._send({"is": "log", "level": level, "event": event, "fields": fields})

    def _send(self, message: dict[str, Any]) -> None:
        with self._sending:
            self._channel.sendall(encode(message))


def _reported(result: StageResult) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in RESULT_FIELDS:
        value = getattr(result, name)
        if isinstance(value, tuple):
            found[name] = [part.model_dump(mode="json") for part in value]
        elif value is not None:
            found[name] = value.model_dump(mode="json")
    return found


def _memory_of_this_process() -> int:
    """Resident bytes, 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _settle() -> None:
    """The worker decides when this process ends; should memory run out, this process goes before any other of the stack."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")


if __name__ == "__main__":
    _settle()
    Slot(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]).run()
