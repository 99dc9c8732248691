"""A task that loses a cancellation is cancelled again."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from barecount_eventlog import end, ending


async def test_a_task_that_swallows_one_cancellation_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.01)
    swallowed = asyncio.Event()

    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        swallowed.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end(task, None)
    assert swallowed.is_set()
    assert task.cancelled()


async def test_what_an_ended_task_raised_is_dropped() -> None:
    async def broken() -> None:
        raise RuntimeError("it was told to stop")

    await end(asyncio.create_task(broken()))
