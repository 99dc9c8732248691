"""A read model built anew from the log beside the live one, compared row by row, and put in its place; and back.

The live schema keeps its name `<service>_<hash of the views>`. A rebuild makes `<live>_next`; the one that was live stays as
`<live>_previous` until the next rebuild, and a rollback is the same swap with it. Ended at any point, the live model is untouched and
the next rebuild begins with dropping `_next`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import asyncpg
import structlog
from barecount_eventlog import KafkaSettings, LogReplaced, demand_same_log

from .bulk import Bulk
from .equality import Comparison, compare
from .errors import ModelsDiffer, NoLiveModel, NothingToRollBackTo, SwapBlocked
from .origin import positions_held, remedy
from .schema import ORIGIN, add_columns, quoted
from .shares import Share, cores, divided, opened
from .snapshots import forget
from .spread import spread
from .swap import alone, analyze, drop, next_of, positions_of, previous_of, stands, swap
from .view import Connection, View, schema_of

# with less than so many records left, the rest goes in while the live projector is held
NEARLY: Final = 2_000
SWAP_TRIES: Final = 3
# with less than so many left, starting other processes takes longer than they save
SPREAD: Final = 150_000

Report = Callable[[Mapping[str, Any]], None]

log = structlog.get_logger(__name__)


@dataclass
class Rebuild:
    """One service's. report: is told {"service", "step", …} as it goes; `projecting` has events, total, rate (1/s) and eta (s).

    processes: among how many the first stretch is divided, when it has at least `spread` records; the views go through pickle then.
    """

    kafka: KafkaSettings
    url: str
    service: str
    views: Sequence[View]
    report: Report = field(default=lambda said: None)
    processes: int = field(default_factory=cores)
    spread: int = SPREAD

    @property
    def live(self) -> str:
        return schema_of(self.service, self.views)

    async def run(self, *, accept_differences: bool = False, accept_loss: bool = False) -> dict[str, Any]:
        """Builds, compares, swaps. accept_differences: the live rows are known to be wrong, the log is right.

        accept_loss: when the live model is of another log than Kafka holds (it was restored from an older copy), build from that log as it
        is, compare nothing, and forget the handler's snapshots; a model of this log is rebuilt as ever.

        Returns {"service", "schema", "events", "seconds", "rate", "tables": {name: rows}, "left_out", "differences"}.
        Raises: RebuildUnderWay, NoLiveModel, ModelsDiffer (nothing swapped, both stay for a look), SwapBlocked, LogTooShort;
        LogReplaced without accept_loss; TopicMissing, asyncpg's and Kafka's errors, whatever a view raises.
        """
        began = time.monotonic()
        async with alone(self.url, self.service) as conn:
            await self._must_stand(conn)
            if accept_loss:
                await forget(conn, self.service)
            try:
                await self._must_be_of_this_log(conn, self.live)
            except LogReplaced:
                if not accept_loss:
                    raise
                return await self._anew(conn, began)
            async with self._building(conn) as bulk:
                await self._near(conn, bulk, began)
                await bulk.database.finish(self.views)
                seconds = time.monotonic() - began
                found = await self._compared(bulk)
                if found.differences and not accept_differences:
                    raise self._differ(found, bulk)
                await self._swap(conn, bulk, next_of(self.live))
        done = {"schema": self.live, "events": bulk.done, "seconds": round(seconds, 2), "rate": round(bulk.done / max(seconds, 0.001))}
        rows = {"tables": found.tables, "left_out": list(found.left_out), "differences": [str(one) for one in found.differences]}
        return self._say("done", **done, **rows)

    async def _anew(self, conn: Connection, began: float) -> dict[str, Any]:
        """Nobody projects into the live model: its service refuses to start. It stays as `_previous`, for a look at what was lost."""
        async with self._building(conn) as bulk:
            await self._project(bulk, await bulk.ends(), began)
            await bulk.database.finish(self.views)
            ends = await bulk.ends()
            await swap(conn, self.live, next_of(self.live), previous_of(self.live), lambda live: bulk.to(ends))
        seconds = time.monotonic() - began
        rate = round(bulk.done / max(seconds, 0.001))
        return self._say("done", schema=self.live, events=bulk.done, seconds=round(seconds, 2), rate=rate, lost=True)

    async def prepare(self) -> dict[str, Any]:
        """Builds the model of views that no service runs yet, so that an upgrade starts with all rows. Does nothing when it stands.

        Raises: as `run`.
        """
        began = time.monotonic()
        async with alone(self.url, self.service) as conn:
            if await stands(conn, self.live):
                return self._say("done", schema=self.live, events=0, seconds=0.0, rate=0)
            async with self._building(conn) as bulk:
                await self._project(bulk, await bulk.ends(), began)
                await bulk.database.finish(self.views)
            await conn.execute(f"ALTER SCHEMA {quoted(next_of(self.live))} RENAME TO {quoted(self.live)}")
        seconds = time.monotonic() - began
        return self._say("done", schema=self.live, events=bulk.done, seconds=round(seconds, 2), rate=round(bulk.done / max(seconds, 0.001)))

    async def roll_back(self) -> dict[str, Any]:
        """Puts the model from before the last swap in its place again, brought up to date first; a second call undoes it.

        Raises: as `run`, and NothingToRollBackTo.
        """
        began = time.monotonic()
        async with alone(self.url, self.service) as conn:
            await self._must_stand(conn)
            before = previous_of(self.live)
            if not await stands(conn, before):
                raise NothingToRollBackTo(f"{self.service} has no model from before a rebuild ({before}): there is nothing to roll back to")
            await self._must_be_of_this_log(conn, before)
            async with self._projecting(before) as bulk:
                await self._near(conn, bulk, began)
                await self._swap(conn, bulk, before)
        return self._say("rolled-back", schema=self.live, events=bulk.done, seconds=round(time.monotonic() - began, 2))

    async def _must_be_of_this_log(self, conn: Connection, schema: str) -> None:
        await add_columns(conn, schema, "projection_positions", ORIGIN)
        held = await positions_held(conn, schema)
        await demand_same_log(self.kafka, held, holder=f"the read model of {self.service}", remedy=remedy(self.service))

    async def _must_stand(self, conn: Connection) -> None:
        if await stands(conn, self.live):
            return
        named = await conn.fetch("SELECT nspname FROM pg_namespace WHERE nspname ~ $1 ORDER BY 1", f"^{self.service}_[0-9a-f]{{10}}$")
        raise NoLiveModel(self.service, self.live, [row["nspname"] for row in named])

    @asynccontextmanager
    async def _building(self, conn: Connection) -> AsyncIterator[Bulk]:
        """A fresh `_next`; what a killed rebuild left goes first."""
        await drop(conn, next_of(self.live))
        async with self._projecting(next_of(self.live), bare=True) as bulk:
            yield bulk

    @asynccontextmanager
    async def _projecting(self, schema: str, *, bare: bool = False) -> AsyncIterator[Bulk]:
        database = await opened(self.url, self.service)
        bulk = Bulk(self.kafka, database, self.views)
        try:
            await database.prepare(self.views, schema, bare=bare)
            await bulk.look()
            yield bulk
        finally:
            await bulk.stop()
            await database.close()

    async def _near(self, conn: Connection, bulk: Bulk, began: float) -> None:
        """Until hardly anything is left to the live model, which goes on meanwhile."""
        await self._project(bulk, await positions_of(conn, self.live), began)
        while sum(bulk.left(goal := await positions_of(conn, self.live)).values()) > NEARLY:
            await self._project(bulk, goal, began)

    async def _project(self, bulk: Bulk, goal: Mapping[Any, int], began: float) -> None:
        left, said = bulk.left(goal), 0.0
        before, total = bulk.done, bulk.done + sum(left.values())

        def progress(done: int) -> None:
            nonlocal said
            now = time.monotonic()
            if now - said < 0.2:
                return
            said, rate = now, done / max(now - began, 0.001)
            self._say("projecting", events=done, total=total, rate=round(rate), eta=round((total - done) / max(rate, 1), 1))

        if bulk.unread and total - before >= self.spread and len(parts := divided(left, self.processes)) > 1:
            to = Share(self.kafka, self.url, self.service, self.views, bulk.database.schema or "", bulk.database.bare, goal)
            shares = [replace(to, goal={where: goal[where] for where in part}) for part in parts]
            bulk.done += await spread(shares, bulk.database, lambda done: progress(before + done))
            await bulk.look()
        await bulk.to(goal, lambda: progress(bulk.done))
        said = 0.0
        progress(bulk.done)

    async def _compared(self, bulk: Bulk) -> Comparison:
        """At one vector of positions: the live model's snapshot has both its rows and their positions, and it goes on meanwhile."""
        live, rebuilt = await asyncpg.connect(self.url), await asyncpg.connect(self.url)
        try:
            async with live.transaction(isolation="repeatable_read", readonly=True):
                await bulk.to(await positions_of(live, self.live))
                await rebuilt.execute(f"SET search_path TO {quoted(next_of(self.live))}")
                async with rebuilt.transaction(isolation="repeatable_read", readonly=True):
                    self._say("comparing", events=bulk.done)
                    return await compare(live, self.live, rebuilt, next_of(self.live))
        finally:
            live.terminate()
            rebuilt.terminate()

    def _differ(self, found: Comparison, bulk: Bulk) -> ModelsDiffer:
        gone = "".join(
            f"\nRetention took the records of {where.topic}/{where.partition} before offset {first}: their rows cannot be built again."
            for where, first in bulk.retained.items()
        )
        told = "\n".join(str(one) for one in found.differences)
        return ModelsDiffer(
            self.service,
            f"the rebuilt read model of {self.service} differs from the live one; nothing was swapped.\n{told}{gone}\n"
            f"Look at both in the database: {self.live} and {next_of(self.live)}. When the live rows are the wrong ones, "
            "rebuild again with --accept-differences; when the log cannot say, a view's VERSION did not rise with its code.",
            found.differences,
        )

    async def _swap(self, conn: Connection, bulk: Bulk, coming: str) -> None:
        # a new table without statistics is planned badly
        await analyze(conn, coming)
        for left in reversed(range(SWAP_TRIES)):
            self._say("swapping", events=bulk.done)
            try:
                return await swap(conn, self.live, coming, previous_of(self.live), bulk.to)
            except SwapBlocked:
                if not left:
                    raise

    def _say(self, step: str, **more: Any) -> dict[str, Any]:
        said = {"service": self.service, "step": step, **more}
        self.report(said)
        return said
