"""What a run was: any life of runs, workers and tenants, told step by step, is told again as of each step, byte for byte."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from barecount_chassis import Caller, Problem
from barecount_contracts import Envelope, Message, RunRequested, partition_of
from barecount_eventlog import KafkaSettings, Recorded
from barecount_execution.http.reading import Reading
from barecount_execution.http.runs import run_metrics, run_partitions, show_run
from barecount_execution.projection import past, views
from barecount_readmodel import Database, Projector
from barecount_readmodel.schema import quoted
from barecount_readmodel.track import Track

from tests.integration.execution.kit import Execution, Site, Worker, does_all, in_pool
from tests.support.servers import Postgres
from tests.unit.execution.test_laws import RUNS, TENANTS, WORKERS, play
from tests.unit.execution.world import DIGEST, World, plan

pytestmark = pytest.mark.integration

SEEDS = (1, 2)
STEPS = 120
ROUTES: dict[str, Any] = {"run": show_run, "metrics": run_metrics, "partitions": run_partitions}


@dataclass
class Told:
    """One answer as it was given, where and when it stood. settled: the next step came at a later time."""

    route: str
    tenant: str
    run_id: str
    as_of: str | None
    time: datetime
    content: bytes
    settled: bool = False


@dataclass
class Life:
    """The log and the live read model, moved by the projector's own step; the domain is the real one."""

    database: Database
    world: World = field(default_factory=World)
    log: dict[TopicPartition, list[Recorded]] = field(default_factory=dict)
    tracks: dict[TopicPartition, Track] = field(default_factory=dict)

    def __post_init__(self) -> None:
        told = past(cast(KafkaSettings, None), self.database, cast(Projector, self))
        self.reading = Reading(self.database, cast(Projector, self), b"", told)
        told._lookback = lambda *_: self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Life]:
        yield self

    # what the past asks of the log and of the projector
    async def wait(self, token: object, timeout: float) -> None: ...

    async def ends(self, where: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {one: len(self.log.get(one, ())) for one in where}

    async def after(self, where: Collection[TopicPartition], time: datetime) -> dict[TopicPartition, int | None]:
        return dict.fromkeys(where, 0)

    async def time_at(self, where: TopicPartition, offset: int) -> datetime | None:
        return self.log[where][offset].envelope.time if 0 <= offset < len(self.log.get(where, ())) else None

    async def records(self, where: TopicPartition, offsets: Sequence[int]) -> list[Recorded]:
        return [self.log[where][offset] for offset in sorted(offsets)]

    # how it goes on
    async def step(self, draw: random.Random) -> None:
        step = drawn(draw)
        if step[0] == "admit":
            await self.say(str(step[2]), RunRequested(run_id=str(step[1]), plan=plan(), plan_digest=DIGEST))
        before = len(self.world.events)
        play(self.world, step)
        await self.write(TopicPartition("runs.events", 0), self.world.events[before:])

    async def say(self, tenant: str, payload: Message) -> None:
        identity = UUID(int=sum(len(records) for records in self.log.values()) + 1)
        event = Envelope(id=identity, type=payload.TYPE, tenant=tenant, time=self.world.now, correlation=identity, data=payload.to_data())
        await self.write(TopicPartition("control.events", partition_of(tenant, 4)), [event])

    async def write(self, where: TopicPartition, events: Sequence[Envelope]) -> None:
        held = self.log.setdefault(where, [])
        fresh = [
            Recorded(where.topic, where.partition, len(held) + number, event.time, event.tenant, {}, event.to_bytes())
            for number, event in enumerate(events)
        ]
        held += fresh
        track = self.tracks.get(where) or await self._track(where)
        await track.apply(fresh, len(held))
        track.next = len(held)

    async def _track(self, where: TopicPartition) -> Track:
        await self.database.pool.execute(
            f"INSERT INTO {quoted(self.database.schema or '')}.projection_positions (topic, partition, next_offset) VALUES ($1, $2, 0)",
            *where,
        )
        track = Track(where, 0, database=self.database, views=views(), max_batch=1000, advance=lambda reached: None)
        self.tracks[where] = track
        return track

    async def tell(self, route: str, tenant: str, run_id: str, as_of: str | None = None) -> Told:
        caller = Caller("user:1", tenant, frozenset(["operator"]), "x")
        try:
            answer = await ROUTES[route](run_id, caller, self.reading, as_of, None)
        except Problem as problem:
            if problem.code != "run-not-found":
                raise
            return Told(route, tenant, run_id, as_of, self.world.now, b"404")
        return Told(route, tenant, run_id, answer.headers["X-As-Of"], self.world.now, answer.body)


def drawn(draw: random.Random) -> tuple[object, ...]:
    """A step as tests/unit/execution/test_laws.py plays it."""
    kinds: list[tuple[object, ...]] = [
        ("announce", draw.choice(WORKERS), draw.choice("ab"), draw.randint(0, 2)),
        ("admit", draw.choice(RUNS), draw.choice(TENANTS), draw.randint(1, 2)),
        ("stop", draw.choice(RUNS), draw.choice(TENANTS)),
        ("tick", draw.choice((0.5, 1.0, 3.0, 11.0))),
        ("report", draw.choice(("started", "alive", "succeeded", "failed", "broken", "found")), draw.randint(0, 3)),
        ("report", "succeeded", draw.randint(0, 2)),
    ]
    return draw.choices(kinds, weights=(2, 2, 0.5, 2, 3, 4))[0]


@pytest.mark.parametrize("seed", SEEDS)
async def test_any_life_is_told_again_as_of_every_step(postgres: Postgres, seed: int) -> None:
    draw = random.Random(seed)
    database = await Database.open(await postgres.create_database("life"), service="execution")
    try:
        await database.prepare(views())
        life, pages = Life(database), list[Told]()
        for _ in range(STEPS):
            now = life.world.now
            await life.step(draw)
            if life.world.now > now:
                # only what was told after the last step of its time
                for page in pages[-2:]:
                    page.settled = True
            # the run that a step changes is one of many, and others' steps change what it waits for
            for _ in range(2):
                pages.append(
                    await life.tell(draw.choice(("run", "run", "run", "metrics", "partitions")), draw.choice(TENANTS), draw.choice(RUNS))
                )
        found = [page for page in pages if page.as_of is not None]
        assert len({page.content for page in found}) > 20
        assert any(b'"limit":"slots"' in page.content for page in found)
        assert any(b'"held_by":["' in page.content for page in found)
        for page in draw.sample(found, 60):
            again = await life.tell(page.route, page.tenant, page.run_id, page.as_of)
            assert again.content == page.content, page
        settled = [page for page in pages if page.settled]
        for page in draw.sample(settled, min(30, len(settled))):
            again = await life.tell(page.route, page.tenant, page.run_id, page.time.isoformat())
            assert again.content == page.content, page
    finally:
        await database.close()


@dataclass(frozen=True)
class Lived:
    """A real run on the real service, and every answer about it."""

    tenant: str
    pages: tuple[tuple[str, str, bytes], ...]


@pytest_asyncio.fixture(scope="module")
async def lived(site: Site, execution: Execution) -> Lived:
    """A run waits for a worker, then for a slot that another run holds, works, and succeeds. Kept: (path, X-As-Of, body)."""
    tenant, pages = f"t-{uuid4().hex[:8]}", list[tuple[str, str, bytes]]()
    pool = f"pool-{tenant}"
    document = in_pool(pool)

    async def keep() -> None:
        for path in ("/runs/run_b", "/runs/run_b/metrics", "/runs/run_b/partitions"):
            answer = await execution.get(path, tenant)
            assert answer.status_code == 200, answer.text
            pages.append((path, answer.headers["X-As-Of"], answer.content))

    await site.register(tenant, document)
    await site.request(tenant, "run_a", document)
    await site.request(tenant, "run_b", document)
    await execution.run(tenant, "run_b", "queued")
    await keep()
    async with Worker(site, f"w-{tenant}", pool, beats=1.0).running() as worker:
        first = await worker.next_task()
        await execution.run(tenant, first.run_id, "running")
        await keep()
        for number in range(1, 7):
            task = await worker.next_task(number)
            await does_all(worker, task)
            await keep()
        await execution.run(tenant, "run_b", "succeeded")
        await keep()
    return Lived(tenant, tuple(pages))


async def test_a_time_to_come_and_a_position_that_says_nothing_are_refused(execution: Execution, lived: Lived) -> None:
    home = next(part for part in lived.pages[-1][1].split(",") if part.startswith("control.events"))
    other = (int(home.split("/")[1].split("@")[0]) + 1) % 4
    for moment, code in (
        ("2026-11-25T10:00:00", "as-of-malformed"),
        ((datetime.now(UTC) + timedelta(hours=1)).isoformat(), "as-of-future"),
        (home.split("@")[0] + "@99999999", "as-of-future"),
        ("run.logs/0@0", "as-of-foreign"),
        (f"control.events/{other}@0", "as-of-foreign"),
        ("runs.events/4@0", "as-of-foreign"),
    ):
        answer = await execution.get("/runs/run_b", lived.tenant, as_of=moment)
        assert (answer.status_code, answer.json()["code"]) == (400, code), moment


async def test_a_real_run_is_told_again_as_of_every_answer(site: Site, execution: Execution, lived: Lived) -> None:
    waits = [json.loads(content).get("waiting_for") for _, _, content in lived.pages]
    assert {wait["limit"] for wait in waits if wait} == {"workers", "slots"}
    assert len({content for _, _, content in lived.pages}) > 8
    # later things of the same pool and tenant change nothing of what was
    document = in_pool(f"pool-{lived.tenant}")
    await site.request(lived.tenant, "run_c", document)
    # the worker is gone and nobody knows: its slot is given away
    await execution.run(lived.tenant, "run_c", "queued", "running")
    for path, position, content in lived.pages:
        answer = await execution.get(path, lived.tenant, as_of=position)
        assert answer.content == content, f"{path} as of {position}"
        assert answer.headers["X-As-Of"] == position
        assert "immutable" in answer.headers["Cache-Control"]


async def test_a_run_is_told_as_of_the_times_that_it_shows_and_was_not_there_before(execution: Execution, lived: Lived) -> None:
    now = json.loads(next(content for path, _, content in reversed(lived.pages) if path == "/runs/run_b"))
    for name, status in (("queued_at", "queued"), ("started_at", "running"), ("ended_at", "succeeded")):
        then = (await execution.get("/runs/run_b", lived.tenant, as_of=now[name])).json()
        assert (then["status"], then[name]) == (status, now[name])
    ended = await execution.get("/runs/run_b", lived.tenant, as_of=now["ended_at"])
    assert ended.json() == now
    before = (datetime.fromisoformat(now["created_at"]) - timedelta(milliseconds=1)).isoformat()
    for path in ("/runs/run_b", "/runs/run_b/metrics", "/runs/run_b/partitions"):
        told = {
            (await execution.get(path, tenant, **query)).content
            for tenant, query in (
                (lived.tenant, {"as_of": before}),
                ("t-stranger", {"as_of": now["ended_at"]}),
                ("t-stranger", {"as_of": before}),
                ("t-stranger", {}),
            )
        }
        assert len(told) == 1, path
        assert json.loads(told.pop())["code"] == "run-not-found"
