"""Ending tasks for certain: a library underneath may swallow one cancellation, and then who waits for the end waits for ever."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_SECONDS = 1.0


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
