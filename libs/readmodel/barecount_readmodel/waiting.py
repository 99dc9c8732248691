"""Who waits for the read model: for positions (consistency tokens) and for conditions. Woken after a commit; no polling, no sleep."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import TypeVar

from .errors import NotYetProjected

T = TypeVar("T")
Where = tuple[str, int]


class Waiting:
    """reached: (topic, partition) -> the first offset that is not projected yet. An absent entry means nothing was, not that all was."""

    def __init__(self) -> None:
        self.reached: dict[Where, int] = {}
        self._heaps: dict[Where, list[tuple[int, int, asyncio.Future[None]]]] = {}
        self._order = count()
        self._commits = 0
        self._committed = asyncio.Event()

    def advance(self, where: Mapping[Where, int]) -> None:
        """After a commit: wakes who waits for what was reached, and every condition."""
        for place, next_ in where.items():
            self.reached[place] = max(next_, self.reached.get(place, 0))
            heap = self._heaps.get(place, [])
            while heap and heap[0][0] < self.reached[place]:
                _, _, future = heapq.heappop(heap)
                if not future.done():
                    future.set_result(None)
        self._commits += 1
        event, self._committed = self._committed, asyncio.Event()
        event.set()

    async def positions(self, wanted: Mapping[Where, int], timeout: float) -> None:
        """Until every (topic, partition) is projected past its offset. Raises: NotYetProjected after `timeout` seconds."""
        futures = [self._future(where, offset) for where, offset in wanted.items() if not self._has(where, offset)]
        if not futures:
            return
        try:
            _, pending = await asyncio.wait(futures, timeout=timeout)
        finally:
            for future in futures:
                future.cancel()
        if pending:
            raise NotYetProjected({w: o for w, o in wanted.items() if not self._has(w, o)}, timeout)

    async def until(self, check: Callable[[], Awaitable[T | None]], timeout: float) -> T | None:
        """Runs `check` now and after every commit until it answers; None after `timeout` seconds (one last look included)."""
        deadline = time.monotonic() + timeout
        while True:
            # taken before the check: a commit during it is not missed
            event = self._committed
            found = await check()
            if found is not None:
                return found
            rest = deadline - time.monotonic()
            if rest <= 0:
                return None
            try:
                async with asyncio.timeout(rest):
                    await event.wait()
            except TimeoutError:
                return await check()

    def _has(self, where: Where, offset: int) -> bool:
        return self.reached.get(where, 0) > offset

    def _future(self, where: Where, offset: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heaps.setdefault(where, []), (offset, next(self._order), future))
        return future
