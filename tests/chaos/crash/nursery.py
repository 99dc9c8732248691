"""The parent of every process that is to die: it has imported everything, and forks one for each line on its standard input.

`python -m tests.chaos.crash.nursery <socket>`. A line is {"kind", "name", "fault", "given"}. The child connects to the socket and says, a
JSON object a line: `born` with its pid, `ready`, `at` before the signal falls, `done` with its answer, `seen` with the points that it came
by, and when SIGUSR1 asks it, `waits` with the places where its tasks wait. The parent forks before any loop or thread exists, and never
works itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import socket
import sys
import traceback
from typing import Any

import structlog

from tests.chaos.crash import bodies
from tests.chaos.crash.points import Fault, Points, named


class Wire:
    """The child's word to the test."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)

    def tell(self, what: str, **more: Any) -> None:
        self._socket.sendall(json.dumps({"is": what, **more}).encode() + b"\n")

    @property
    def raw(self) -> socket.socket:
        return self._socket


def child(path: str, order: dict[str, Any]) -> None:
    _ends_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    wire = Wire(path)
    wire.tell("born", pid=os.getpid(), name=order["name"])
    fault = Fault.read(order["fault"]) if order["fault"] else None
    points = Points(fault, lambda name: wire.tell("at", point=name))
    body = getattr(bodies, order["kind"])
    if asyncio.iscoroutinefunction(body):
        asyncio.run(_live(body, order["given"], points, wire))
    else:
        wire.tell("ready")
        wire.tell("done", answer=body(order["given"], points))
        wire.tell("seen", points=points.seen)


async def _live(body: Any, given: dict[str, Any], points: Points, wire: Wire) -> None:
    """Lives until the test closes its side of the wire, then says what it came by."""
    reader, _ = await asyncio.open_connection(sock=wire.raw.dup())
    points.watch(asyncio.get_running_loop(), bodies.WATCHED[body.__name__])
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _tell_where, wire)
    working = asyncio.create_task(body(given, wire.tell))
    ending = asyncio.create_task(reader.read())
    await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
    wire.tell("seen", points=points.seen)
    # nothing is closed: whoever ends here may as well have been killed
    os._exit(0)


def _tell_where(wire: Wire) -> None:
    places = {named(task.get_coro()) for task in asyncio.all_tasks()}
    # the product's own
    wire.tell("waits", at=sorted(place for place in places if place and not place.startswith(" | ")))


def _ends_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main(path: str) -> None:
    _ends_with_parent()
    # the kernel buries the children
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO), logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    for line in iter(sys.stdin.readline, ""):
        if os.fork():
            continue
        try:
            child(path, json.loads(line))
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
