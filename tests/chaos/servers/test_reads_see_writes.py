"""Command, then query with its token: no answer is older than what the caller wrote. On the real handler and projector, without HTTP.

Over HTTP, while services are restarted: tests/chaos/test_reads_see_writes_over_restarts.py.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from secrets import token_bytes

import pytest
from barecount_readmodel import Database, Token, reach

from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, handler_of
from tests.integration.readmodel.test_projector import projector_of

FULL = int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1")) > 1
PAIRS, CALLERS = (10_000, 25) if FULL else (300, 10)

pytestmark = pytest.mark.chaos


@pytest.mark.timeout(300)
async def test_ten_thousand_pairs_of_command_and_query_are_never_stale(topics: Topics, database: Database) -> None:
    secret, handler, projector = token_bytes(32), handler_of(topics), projector_of(topics, database)
    await asyncio.gather(handler.start(), projector.start())
    stale, waits = list[str](), list[float]()

    async def caller(tenant: str, pairs: int) -> None:
        for mine in range(1, pairs + 1):
            at = await topics.appender.append(topics.inbox, tenant, add(1, tenant=tenant))
            began = time.perf_counter()
            await reach(projector, Token.of(at).encode(secret, tenant), secret, tenant, seconds=30)
            waits.append(time.perf_counter() - began)
            async with database.query(tenant) as conn:
                seen = await conn.fetchval("SELECT events FROM tallies")
            if seen != mine:
                stale.append(f"{tenant} wrote {mine} and read {seen}")

    await asyncio.gather(*(caller(f"t{number}", PAIRS // CALLERS) for number in range(CALLERS)))
    for part in (projector, handler):
        await part.stop()
    assert not stale, f"{len(stale)} of {PAIRS}: {stale[:3]}"
    assert len(waits) == PAIRS
    ordered = sorted(waits)
    p50, p99 = (ordered[PAIRS * part // 100] * 1e3 for part in (50, 99))
    sys.stdout.write(f"{PAIRS} pairs by {CALLERS} callers: wait p50 {p50:.1f} ms, p99 {p99:.1f} ms\n")
