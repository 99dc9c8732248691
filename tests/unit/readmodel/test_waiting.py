"""Waits are woken by commits, never early and never lost."""

from __future__ import annotations

import asyncio

import pytest
from barecount_readmodel import NotYetProjected
from barecount_readmodel.waiting import Waiting

EVENTS = ("events", 0)


async def test_a_partition_that_nobody_projected_is_not_caught_up() -> None:
    with pytest.raises(NotYetProjected):
        await Waiting().positions({EVENTS: 0}, 0.01)


async def test_a_wait_ends_past_the_offset_and_not_at_it() -> None:
    waiting = Waiting()
    task = asyncio.create_task(waiting.positions({EVENTS: 5}, 5))
    await asyncio.sleep(0)
    waiting.advance({EVENTS: 5})
    await asyncio.sleep(0.01)
    assert not task.done()
    waiting.advance({EVENTS: 6})
    await asyncio.wait_for(task, 1)


async def test_all_positions_of_a_token_are_waited_for() -> None:
    waiting = Waiting()
    task = asyncio.create_task(waiting.positions({EVENTS: 1, ("other", 3): 1}, 5))
    await asyncio.sleep(0)
    waiting.advance({EVENTS: 9})
    await asyncio.sleep(0.01)
    assert not task.done()
    waiting.advance({("other", 3): 2})
    await asyncio.wait_for(task, 1)


async def test_a_thousand_waits_are_woken_by_their_own_commit() -> None:
    waiting = Waiting()
    tasks = [asyncio.create_task(waiting.positions({EVENTS: offset}, 5)) for offset in range(1000)]
    await asyncio.sleep(0)
    waiting.advance({EVENTS: 500})
    await asyncio.sleep(0.01)
    assert [task.done() for task in tasks] == [offset < 500 for offset in range(1000)]
    waiting.advance({EVENTS: 1000})
    await asyncio.gather(*tasks)


async def test_a_commit_during_the_check_is_not_missed() -> None:
    waiting, looks = Waiting(), 0

    async def check() -> str | None:
        nonlocal looks
        looks += 1
        if looks == 1:
            waiting.advance({EVENTS: 1})
            return None
        return "seen"

    assert await asyncio.wait_for(waiting.until(check, 5), 1) == "seen"
