"""Closing Kafka's clients at a stop, whatever their own close does (eventlog has the same for its own; neither library knows the other)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from . import telemetry

CLOSE_SECONDS: Final = 3.0


async def close(closing: Coroutine[Any, Any, Any], name: str) -> None:
    """A client's own close, for a while. What it raises is logged: the rest of the process is still to be stopped.

    A task of its own, because aiokafka awaits the tasks that it has cancelled: the CancelledError would be taken for ours.
    """
    task = asyncio.ensure_future(closing)
    _, late = await asyncio.wait({task}, timeout=CLOSE_SECONDS)
    if late:
        task.cancel()
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        error = "not closed in time"
    elif task.cancelled():
        error = "cancelled"
    elif (raised := task.exception()) is not None:
        error = repr(raised)
    else:
        return
    telemetry.logger().info(telemetry.CLIENT_ABANDONED, client=name, error=error)
