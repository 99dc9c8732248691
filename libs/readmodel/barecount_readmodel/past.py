"""Time travel at the edge: one thing as it was at a moment of the log, told by the same views and the same queries as today.

An index (EntityEvents) says which records concern the thing; they are read from the log up to the moment, projected into empty tables
within a transaction that is rolled back, and asked under the same row-level security. docs/decisions/0007 says why, and what it costs.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from barecount_chassis import Problem
from barecount_contracts import catalogue, partition_of
from barecount_eventlog import KafkaSettings, LogTruncated, Lookback, Recorded

from .concerning import last_at
from .database import EVERY_TENANT, Database
from .errors import AsOfError, NotYetProjected, TokenError
from .moment import Instant, Moment, Positions, parse_moment, told
from .projector import Projector
from .reach import SECONDS
from .token import Token
from .view import Connection, View

Cut = dict[TopicPartition, int]
# given the cut and the thing's own records up to it
Beside = Callable[[Connection, Mapping[TopicPartition, int], Sequence[Recorded]], Awaitable[Collection[tuple[TopicPartition, int]]]]

MOST_EVENTS: Final = 5_000
# so many of these answers are made at once; the pool's other connections stay for questions about today
AT_ONCE: Final = 2
# from the question to its rows, the wait for a turn included: with what closing costs, less than any client of ours waits
ANSWER_SECONDS: Final = 20.0
# a clock of another machine may be behind ours by less than this
SETTLED_AFTER: Final = timedelta(seconds=60)
_FOREVER: Final = "private, max-age=31536000, immutable"
_TODAY: Final = "private, no-cache"


class Log(Protocol):
    """What is asked of the log itself; see Lookback."""

    async def ends(self, where: Collection[TopicPartition]) -> dict[TopicPartition, int]: ...

    async def after(self, where: Collection[TopicPartition], time: datetime) -> dict[TopicPartition, int | None]: ...

    async def time_at(self, where: TopicPartition, offset: int) -> datetime | None: ...

    async def records(self, where: TopicPartition, offsets: Sequence[int]) -> list[Recorded]: ...


@dataclass(frozen=True, slots=True)
class Source:
    """A log that a service's answers are made of.

    by_tenant: keyed so, hence a tenant's events stand in one partition. inbox: where the commands stand that it answers, if this service
    may read them.
    """

    topic: str
    by_tenant: bool
    inbox: str | None = None


@dataclass(frozen=True, slots=True)
class Thing:
    """What is asked about, as EntityEvents names it."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A read-only connection over the caller's rows as they are, or were, and the positions at which they stand.

    forever: whether the answer can never be another one; None for an answer about now.
    """

    conn: Connection
    positions: Mapping[TopicPartition, int]
    forever: bool | None = None

    @property
    def headers(self) -> dict[str, str]:
        """X-As-Of: asked for as `as_of`, it gives the same answer for ever."""
        caching = {} if self.forever is None else {"Cache-Control": _FOREVER if self.forever else _TODAY, "Vary": "Authorization"}
        return {"X-As-Of": told(self.positions), **caching}


class Past:
    """views: those whose tables the queries ask. beside: finds the events of other things that an answer shows, seeing every tenant."""

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        database: Database,
        projector: Projector,
        sources: Sequence[Source],
        views: Sequence[View],
        beside: Beside | None = None,
        lookback: Callable[[KafkaSettings, Collection[str], str], AbstractAsyncContextManager[Log]] = Lookback,
    ) -> None:
        self._kafka, self._database, self._projector = kafka, database, projector
        self._sources, self._views, self._beside, self._lookback = tuple(sources), tuple(views), beside, lookback
        self._turns = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def read(self, tenant: str, as_of: str | None, thing: Thing) -> AsyncIterator[Seen]:
        """The rows of the thing at a moment; without `as_of` all rows of the tenant as they are.

        A thing that did not exist then, or is another tenant's, has no rows. Raises: Problem `as-of-malformed`, `as-of-foreign`,
        `as-of-future`, `as-of-too-long`; `not-yet-projected` when what was asked for until then is not decided yet;
        `service-unavailable` when log or database is away for longer than 20 s, or so many ask that no turn comes.
        """
        if as_of is None:
            async with self._database.query(tenant) as conn:
                yield Seen(conn, await self._today(conn, tenant))
            return
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await stack.enter_async_context(self._turns)
                    cut, forever, records = await self._recorded(tenant, parse_moment(as_of), thing)

                    async def fill(conn: Connection) -> None:
                        await project(conn, self._views, records)

                    conn = await stack.enter_async_context(self._database.scratch(tenant, self._views, fill))
            except (AsOfError, TokenError) as error:
                raise Problem(error.code, error.detail) from error
            except NotYetProjected as error:
                raise Problem("not-yet-projected", str(error)) from error
            except LogTruncated as error:
                raise Problem("internal-error", f"{error}; the log was restored from an older copy: rebuild the read model") from error
            except TimeoutError as error:
                late = f"not told within {ANSWER_SECONDS:g} s: log or read model does not answer, or many questions about the past wait"
                raise Problem("service-unavailable", late) from error
            except KafkaError as error:
                raise Problem("service-unavailable", f"the log does not answer now: {type(error).__name__}") from error
            yield Seen(conn, cut, forever)

    def _places(self, tenant: str) -> list[TopicPartition]:
        """Every partition in which something of the answer may stand."""
        found = []
        for source in self._sources:
            count = catalogue().topics[source.topic].partitions
            numbers = [partition_of(tenant, count)] if source.by_tenant else range(count)
            found += [TopicPartition(source.topic, number) for number in numbers]
        return found

    async def _today(self, conn: Connection, tenant: str) -> Cut:
        """The positions of the rows that this transaction sees."""
        rows = await conn.fetch("SELECT topic, partition, next_offset FROM projection_positions")
        held = {TopicPartition(row["topic"], row["partition"]): int(row["next_offset"]) - 1 for row in rows}
        return {where: held.get(where, -1) for where in self._places(tenant)}

    async def _recorded(self, tenant: str, moment: Moment, thing: Thing) -> tuple[Cut, bool, list[Recorded]]:
        """The cut through the log, whether it can never be another one, and the thing's records up to it, in the order of their times."""
        places = self._places(tenant)
        self._askable(moment, places, tenant)
        topics = {source.topic for source in self._sources} | {source.inbox for source in self._sources if source.inbox}
        async with self._lookback(self._kafka, topics, f"{self._database.service}.past") as log:
            named, time = await self._named(log, moment)
            rest = [where for where in places if where not in named]
            forever = await self._decided(log, rest, time)
            cut, own = await self._own(tenant, thing, named, rest, time)
            records = await _read(log, own)
            if self._beside is not None and records:
                async with self._database.query(EVERY_TENANT) as conn:
                    other = await self._beside(conn, cut, records)
                records += await _read(log, set(other) - set(own))
        return cut, forever, sorted(records, key=lambda one: (one.envelope.time, one.topic, one.partition, one.offset))

    def _askable(self, moment: Moment, places: Sequence[TopicPartition], tenant: str) -> None:
        """Raises: AsOfError for a time to come, and for a position that no answer of this service can stand at, whatever it is about."""
        now = datetime.now(UTC)
        if isinstance(moment, Instant):
            if moment.time > now:
                raise AsOfError("as-of-future", f"{_stamp(moment.time)} has not come yet; here it is {_stamp(now)}")
            return
        for where in moment.offsets:
            if where.topic not in {one.topic for one in places}:
                logs = " and ".join(sorted({one.topic for one in places}))
                raise AsOfError("as-of-foreign", f"{where.topic} is not a log that this answer is made of; that is {logs}")
            if where not in places:
                mine = ", ".join(f"{one.topic}/{one.partition}" for one in places if one.topic == where.topic)
                raise AsOfError("as-of-foreign", f"{where.topic}/{where.partition} holds nothing of tenant {tenant}; that is {mine}")

    async def _named(self, log: Log, moment: Moment) -> tuple[Cut, datetime]:
        """The positions that were given, projected by now, and the time up to which the other partitions count."""
        match moment:
            case Instant(time):
                return {}, time
            case Positions(offsets):
                for where, end in (await log.ends(list(offsets))).items():
                    if offsets[where] >= end:
                        last = f"its last position is {end - 1}" if end else "it is empty"
                        raise AsOfError("as-of-future", f"{told({where: offsets[where]})} lies beyond the log's end: {last}")
                await self._projector.wait(_token(offsets), SECONDS)
                times = [await log.time_at(where, offset) for where, offset in offsets.items()]
                return dict(offsets), max((time for time in times if time), default=datetime.fromtimestamp(0, UTC))

    async def _decided(self, log: Log, places: Sequence[TopicPartition], time: datetime) -> bool:
        """Waits until everything that was asked for up to an instant is decided and projected; whether nothing more can come.

        An event carries the time of the command that it answers, so the inbox tells. A log whose inbox another service reads gives a
        thing its first event only: what is there stays.
        """
        inboxes = {source.topic: source.inbox for source in self._sources}
        asked = [TopicPartition(inbox, where.partition) for where in places if (inbox := inboxes[where.topic]) is not None]
        if not asked:
            return True
        later, ends = await log.after(asked, time), await log.ends(asked)
        behind = {where: (ends[where] if offset is None else offset) - 1 for where, offset in later.items()}
        await self._projector.wait(_token(behind), SECONDS)
        return None not in later.values() or datetime.now(UTC) - time > SETTLED_AFTER

    async def _own(
        self, tenant: str, thing: Thing, named: Cut, rest: Sequence[TopicPartition], time: datetime
    ) -> tuple[Cut, list[tuple[TopicPartition, int]]]:
        """The whole cut, and where the thing's own records up to it stand."""
        async with self._database.query(EVERY_TENANT) as conn:
            cut = {**named, **{where: await last_at(conn, where.topic, where.partition, time) for where in rest}}
        async with self._database.query(tenant) as conn:
            homes = await conn.fetch(
                "SELECT DISTINCT topic, partition FROM entity_events WHERE tenant = $1 AND kind = $2 AND id = $3",
                *(tenant, thing.kind, thing.id),
            )
            rows = await conn.fetch(
                'SELECT topic, partition, "offset" FROM entity_events JOIN unnest($4::text[], $5::int[], $6::bigint[]) '
                'AS cut (topic, partition, last) USING (topic, partition) WHERE tenant = $1 AND kind = $2 AND id = $3 AND "offset" <= last '
                "LIMIT $7",
                *(tenant, thing.kind, thing.id, [one.topic for one in cut], [one.partition for one in cut], list(cut.values())),
                MOST_EVENTS + 1,
            )
        self._at_home(thing, named, {TopicPartition(row["topic"], row["partition"]) for row in homes})
        if len(rows) > MOST_EVENTS:
            raise AsOfError("as-of-too-long", f"more than {MOST_EVENTS} events made {thing.kind} {thing.id} what it was then")
        return cut, [(TopicPartition(row["topic"], row["partition"]), int(row["offset"])) for row in rows]

    def _at_home(self, thing: Thing, named: Cut, homes: Collection[TopicPartition]) -> None:
        """Raises: AsOfError when the given positions are all of partitions that say nothing about a thing that exists."""
        by_tenant = {source.topic for source in self._sources if source.by_tenant}
        if homes and named and not any(where in homes or where.topic in by_tenant for where in named):
            there = ", ".join(f"{where.topic}/{where.partition}" for where in sorted(homes))
            raise AsOfError("as-of-foreign", f"{told(named)} says nothing about {thing.kind} {thing.id}, whose events stand in {there}")


async def project(conn: Connection, views: Sequence[View], records: Sequence[Recorded]) -> None:
    """What the projector does, with records of several partitions in the order given."""
    for (topic, _), batch in itertools.groupby(records, key=lambda record: (record.topic, record.partition)):
        following = list(batch)
        for view in views:
            if topic in view.TOPICS:
                await view.apply(conn, following)


async def _read(log: Log, wanted: Collection[tuple[TopicPartition, int]]) -> list[Recorded]:
    offsets: dict[TopicPartition, list[int]] = {}
    for where, offset in wanted:
        offsets.setdefault(where, []).append(offset)
    return [record for where, some in sorted(offsets.items()) for record in await log.records(where, some)]


def _token(offsets: Mapping[TopicPartition, int]) -> Token:
    return Token(tuple((where.topic, where.partition, offset) for where, offset in offsets.items()), catalogue().generation)


def _stamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
