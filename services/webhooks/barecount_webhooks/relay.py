"""The relay: one process at a time delivers; each endpoint has a lane of its own, so that one that hangs delays no other.

What to do stands in the read model, which the log makes. The relay only reads there; what it does it says to the log, and it takes a
delivery up again when that word has come back into the read model. So nothing is kept here that a restart would lose.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

import asyncpg
import structlog
from barecount_contracts import Position
from barecount_eventlog import AppendFailed, KafkaSettings, end, end_offsets
from barecount_readmodel import EVERY_TENANT, Database, NotYetProjected, Projector, Token

from . import metrics
from .attempt import TOPIC, Attempts
from .domain.outcome import Failed, Outcome, answered
from .domain.pace import Breaker, Pace
from .views import work
from .views.work import Due

log = structlog.get_logger(__name__)

# any 64-bit number that no other lock of this database uses
LOCK = 0x776562686F6F6B
# a standby looks so often whether the owner has gone; an owner so often whether its lock still stands
LOOK_SECONDS = 5.0
# PostgreSQL takes the lock from an owner that has said nothing for so long: a frozen process keeps its connection for ever
LOCK_IDLE = "75s"
BACKOFF = (0.2, 10.0)
PROJECT_SECONDS = 30.0
EACH = 32


class Relay:
    """ready: this process delivers, or stands by for the one that does."""

    def __init__(self, kafka: KafkaSettings, database: Database, rows: Projector, attempts: Attempts, *, most: int = 16) -> None:
        self._kafka, self._database, self._rows, self._attempts, self._most = kafka, database, rows, attempts, most
        self._paces: dict[str, Pace] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing: Exception | None = None
        self._started = False
        self.owner = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="webhooks-relay")

    async def stop(self) -> None:
        """What is under way is left open; the next owner sends it again."""
        await end(self._task)

    @property
    def ready(self) -> bool:
        return self._started and self._failing is None

    def lag(self) -> Mapping[str, int]:
        return {"in flight": len(self._under_way)}

    def lane(self, endpoint_id: str) -> tuple[Breaker, int, int]:
        """(breaker, calls at once, under way) as this process sees the endpoint."""
        pace = self._paces.get(endpoint_id) or Pace(most=self._most)
        return pace.breaker(time.monotonic()), int(pace.limit), pace.in_flight

    async def _run(self) -> None:
        backoff = BACKOFF[0]
        while True:
            began = time.monotonic()
            try:
                await self._own()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._failing = error
                backoff = BACKOFF[0] if time.monotonic() - began > BACKOFF[1] else min(BACKOFF[1], backoff * 2)
                log.warning(metrics.RELAY_RETAKEN, error=repr(error), retry_in=backoff)
                await asyncio.sleep(backoff)

    async def _own(self) -> None:
        """Takes the lock, closes what was left open, and delivers for as long as the lock stands."""
        async with self._database.pool.acquire() as conn:
            await conn.execute(f"SET idle_session_timeout = '{LOCK_IDLE}'")
            await self._lock(conn)
            try:
                await self._catch_up()
                # each of the two may take half a minute, in which nothing else is said on this connection
                await conn.execute("SELECT 1")
                await self._close_open()
                self.owner, self._failing, self._started = True, None, True
                log.info(metrics.RELAY_OWNED)
                await self._deliver(conn)
            finally:
                self.owner = False
                tasks = list(self._under_way.values())
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._under_way.clear()
                with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await conn.execute("SELECT pg_advisory_unlock_all(); RESET idle_session_timeout")

    async def _lock(self, conn: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        while not await conn.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            self._started, self._failing = True, None
            await asyncio.sleep(LOOK_SECONDS)

    async def _catch_up(self) -> None:
        """Until every word about attempts is in the read model: what was taken is not sent again."""
        ends = await end_offsets(self._kafka, TOPIC)
        last = [Position(topic=TOPIC, partition=partition, offset=end - 1) for partition, end in ends.items() if end > 0]
        if last:
            await self._rows.wait(Token.of(*last), PROJECT_SECONDS)

    async def _close_open(self) -> None:
        async with self._database.query(EVERY_TENANT) as conn:
            left = await work.left_open(conn)
        positions = [await self._attempts.interrupted(one) for one in left]
        if positions:
            await self._rows.wait(Token.of(*positions), PROJECT_SECONDS)

    async def _deliver(self, conn: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        watching = asyncio.create_task(self._watch(), name="webhooks-relay-watch")
        looked = 0.0
        try:
            while True:
                self._wake.clear()
                for due in await self._due():
                    self._begin(due)
                if time.monotonic() - looked > LOOK_SECONDS:
                    # a connection that was lost has lost the lock with it
                    await conn.fetchval("SELECT 1")
                    await self._measure()
                    looked = time.monotonic()
                with suppress(TimeoutError):
                    async with asyncio.timeout(await self._idle()):
                        await self._wake.wait()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        """Wakes the relay after every batch that the projector commits."""

        async def moved() -> None:
            self._wake.set()

        while True:
            await self._rows.until(moved, 3600)

    async def _due(self) -> list[Due]:
        now = time.monotonic()
        full = [name for name, pace in self._paces.items() if pace.room(now) == 0]
        async with self._database.query(EVERY_TENANT) as conn:
            return await work.due(conn, self._attempts.clock(), list(self._under_way), full, EACH)

    async def _idle(self) -> float:
        """Seconds until something may be done that no commit announces: a retry falls due, a lane opens again."""
        now, clock = time.monotonic(), self._attempts.clock()
        async with self._database.query(EVERY_TENANT) as conn:
            due_at = await work.next_due(conn, clock)
        waits = [pace.not_before - now for pace in self._paces.values() if pace.not_before > now]
        if due_at is not None:
            waits.append((due_at - clock).total_seconds())
        return max(0.005, min([LOOK_SECONDS, *waits]))

    def _begin(self, due: Due) -> None:
        pace = self._paces.setdefault(due.endpoint.endpoint_id, Pace(most=self._most))
        if due.delivery_id in self._under_way or pace.room(time.monotonic()) == 0:
            return
        pace.in_flight += 1
        self._under_way[due.delivery_id] = asyncio.create_task(self._one(due, pace), name=f"webhook:{due.delivery_id}")
        metrics.IN_FLIGHT.inc()

    async def _one(self, due: Due, pace: Pace) -> None:
        try:
            try:
                outcome, position = await self._attempts.make(due)
                self._tell(pace, outcome)
            finally:
                pace.in_flight -= 1
                metrics.IN_FLIGHT.dec()
                # the lane has room; the delivery itself stays held until its result has come back
                self._wake.set()
            await self._projected(position)
        except AppendFailed as error:
            # nothing is known to be written: it falls due again, under the number that the log then says
            log.warning(metrics.RELAY_RETAKEN, delivery_id=due.delivery_id, error=str(error), retry_in=1.0)
            await asyncio.sleep(1.0)
        finally:
            self._under_way.pop(due.delivery_id, None)
            self._wake.set()

    async def _projected(self, position: Position) -> None:
        while True:
            try:
                return await self._rows.wait(Token.of(position), PROJECT_SECONDS)
            except NotYetProjected as error:
                log.warning(metrics.RELAY_RETAKEN, error=str(error))

    def _tell(self, pace: Pace, outcome: Outcome) -> None:
        wait = outcome.retry_after.total_seconds() if isinstance(outcome, Failed) and outcome.retry_after else 0.0
        pace.ended(answered(outcome), time.monotonic(), wait)

    async def _measure(self) -> None:
        now = self._attempts.clock()
        async with self._database.query(EVERY_TENANT) as conn:
            found = await work.figures(conn, now)
        metrics.DUE.set(found.due)
        metrics.OLDEST.set(0 if found.oldest is None else max(0.0, (now - found.oldest).total_seconds()))
        mono = time.monotonic()
        metrics.OPEN_BREAKERS.set(sum(pace.breaker(mono) == "open" for pace in self._paces.values()))
        # a lane that is as it began is made again when it is needed
        self._paces = {
            name: pace for name, pace in self._paces.items() if pace.in_flight or pace.failures or pace.not_before > mono or pace.limit > 4
        }
