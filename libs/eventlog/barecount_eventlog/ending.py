"""Ending tasks for certain: a library underneath may swallow one cancellation, and then who waits for the end waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

AGAIN_SECONDS = 1.0
CLOSE_SECONDS = 3.0

log = structlog.get_logger(__name__)


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancels the tasks until they have ended. What they raise is dropped: they were told to stop."""
    left = {task for task in tasks if task is not None}
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
        for task in done:
            # looked at, so that nothing is logged as never retrieved
            if not task.cancelled():
                task.exception()


async def close(closing: Coroutine[Any, Any, Any], name: str) -> None:
    """A library's own close, for a while. What it raises is logged: whoever closes goes on, and what was not acknowledged never was.

    A task of its own, because aiokafka awaits the tasks that it has cancelled: the CancelledError would be taken for ours.
    """
    task = asyncio.ensure_future(closing)
    done, late = await asyncio.wait({task}, timeout=CLOSE_SECONDS)
    for one in late:
        one.cancel()
        one.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    failed = any(one.cancelled() or one.exception() is not None for one in done)
    if late or failed:
        error = "not closed in time" if late else "cancelled" if task.cancelled() else repr(task.exception())
        log.info("client-abandoned", client=name, error=error)
