"""The worker's publish killed and frozen: between its lines and its file operations, in the midst of delta-rs, and around its slot.

Every next attempt has the next ticket, as execution grants it. The judges are the table's own log, read as JSON, and its files.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import pyarrow.parquet as pq
import pytest
from barecount_chassis import create_keypair
from barecount_contracts import (
    ContractRef,
    Envelope,
    PlanSummary,
    PublishTicket,
    ReportTaskSucceeded,
    RunTask,
    StagedOutput,
    TaskRef,
)
from barecount_manifest import digest

from tests.chaos.crash.choice import FAULTS, SEEDS, Scouted, any_points, asked, faults_of, repeat
from tests.chaos.crash.harness import Nursery, Process
from tests.chaos.crash.points import Fault
from tests.support.judge import read_topic
from tests.support.servers import Kafka
from tests.support.workers import bodies

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

DAY = "2025-10-04"
FILE_EVENT = "file event"
# of one publication: the first places the data file, the others are the commit, in the midst of delta-rs
FILE_EVENTS = 6


async def done(process: Process, nursery: Nursery, seconds: float = 60) -> Any:
    """A whole process's answer."""
    told = await process.until(lambda: process.heard("done") or process.gone, seconds, "come to its end")
    assert isinstance(told, dict), nursery.log()[-4000:]
    return told["answer"]


@pytest.fixture(scope="module")
async def lakes(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Path, list[dict[str, Any]]]]:
    """What is staged for run-1, in a table that holds a publication already (True), and before there is a table."""
    made = {}
    for published in (True, False) if SEEDS > 1 else (True,):
        lake = tmp_path_factory.mktemp("lake") / "lake"
        made[published] = lake, await done(await nursery.start("staged", {"lake": str(lake), "published": published}), nursery)
    return made


def order(lake: Path, outputs: list[dict[str, Any]], turn: int, fault: Fault | None = None, *, fence: bool = False) -> dict[str, Any]:
    """The given of the n-th attempt: the n-th grant has the fence 2n and the number 2n + 1."""
    shot = {"signal": fault.signal, "event": int(fault.point.removeprefix(FILE_EVENT))} if fault and is_shot(fault) else None
    superseded = [2 * earlier + 1 for earlier in range(1, turn)]
    return {"lake": str(lake), "outputs": outputs, "number": 2 * turn + 1, "superseded": superseded, "shot": shot, "fence": fence}


def is_shot(fault: Fault) -> bool:
    """In the midst of native code: sent from outside, at a file event."""
    return fault.point.startswith(FILE_EVENT)


class Ways:
    """The points that an attempt comes by in a lake as it is, told by one that is left alone in a copy of it; asked once for each kind of
    lake: what stands there by this run decides the way that the next attempt takes."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self._nursery, self._folder = nursery, folder
        self._known: dict[tuple[object, ...], Counter[str]] = {}

    async def of(self, lake: Path, outputs: list[dict[str, Any]], turn: int, *, fence: bool) -> Counter[str]:
        made = made_in(lake)
        situation = (made, turn > 1, fence)
        if situation not in self._known:
            scout = await self._nursery.start(
                "publish", order(copied(lake, self._folder / str(len(self._known))), outputs, turn, fence=fence)
            )
            await done(scout, self._nursery)
            seen = (await scout.until(lambda: scout.heard("seen"), 10, "tell its points"))["points"]
            # without a table there is no folder yet whose events could be watched, and what is published already writes no file
            events = 0 if fence or made is None or ("run-1", "publish") in made else FILE_EVENTS
            self._known[situation] = Counter(seen) + Counter(f"{FILE_EVENT} {number}" for number in range(1, events + 1))
            self._nursery.lines |= set(filter(is_around_the_commit, self._known[situation]))
        return self._known[situation]


def copied(lake: Path, folder: Path) -> Path:
    return Path(shutil.copytree(lake, folder / "lake"))


@pytest.fixture(scope="module")
def ways(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Ways:
    return Ways(nursery, tmp_path_factory.mktemp("scouts"))


def is_around_the_commit(point: str) -> bool:
    """Every line of the code that commits, and everything that happens to a file; before it, nothing can be seen from outside."""
    return point.startswith("delta.py:") or not point.partition(":")[0].endswith(".py")


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_publish_that_ends_anywhere_stands_in_the_table_once(
    nursery: Nursery, lakes: dict[bool, tuple[Path, list[dict[str, Any]]]], ways: Ways, seed: int, tmp_path: Path
) -> None:
    # every third table is new; in every fourth seed a cancel follows the first attempt, and is killed too
    template, outputs = lakes[SEEDS == 1 or seed % 3 != 2]
    cancelled, choice = seed % 4 == 1, nursery.choice("publish")
    lake, faults, frozen = copied(template, tmp_path), asked() or (any_points(choice, seed, 1) if SEEDS == 1 else []), list[Process]()
    for turn in range(1, 1 + (len(faults) or FAULTS)):
        fence = cancelled and turn > 1
        if len(faults) < turn:
            faults.append(choice.fault(seed, await ways.of(lake, outputs, turn, fence=fence), nursery.lines))
        fault = faults[turn - 1]
        victim = await nursery.start("publish", order(lake, outputs, turn, fault, fence=fence), None if is_shot(fault) else fault)
        if await nursery.meets("publish", victim, fault, 20) and fault.signal == "STOP":
            frozen.append(victim)
    told = repeat("publish", seed, faults)
    last = await done(await nursery.start("publish", order(lake, outputs, len(faults) + 1, fence=cancelled)), nursery)
    for zombie in frozen:
        zombie.send(signal.SIGCONT)
    woken = [await done(zombie, nursery) for zombie in frozen]
    judged(lake, last, woken, told)


def table_of(lake: Path) -> Path:
    return lake / "acme" / "prod" / "tables" / "revenue_kpi"


def commits_of(lake: Path) -> list[list[dict[str, Any]]]:
    """The table's log, read as JSON: the actions of each commit."""
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in sorted((table_of(lake) / "_delta_log").glob("*.json"))]


def info_of(actions: list[dict[str, Any]]) -> dict[str, Any]:
    """What a commit says of itself."""
    found: dict[str, Any] = next((one["commitInfo"] for one in actions if "commitInfo" in one), {})
    return found


def made_in(lake: Path) -> frozenset[tuple[str | None, str | None]] | None:
    """Which runs have made which kinds of commits; None without a table."""
    told = [info_of(actions) for actions in commits_of(lake)]
    return frozenset((info.get("barecount.run_id"), info.get("barecount.kind")) for info in told) if told else None


def judged(lake: Path, last: dict[str, Any], woken: list[dict[str, Any]], told: str) -> None:
    """The table's log, and nothing that the worker says, tells what was published; then what was said must agree."""
    assert "published" in last, f"the last attempt must come through: {last}; {told}"
    mine, numbers, live = list[dict[str, Any]](), list[int](), dict[str, int]()
    for actions in commits_of(lake):
        info = info_of(actions)
        numbers += [one["txn"]["version"] for one in actions if "txn" in one]
        for one in actions:
            if "add" in one:
                live[one["add"]["path"]] = json.loads(one["add"]["stats"])["numRecords"]
            if "remove" in one:
                del live[one["remove"]["path"]]
        if info.get("barecount.run_id") == "run-1" and info.get("barecount.kind") == "publish":
            mine.append(info)
    assert numbers == sorted(set(numbers)), f"the fence went back: {numbers}; {told}"
    assert len(mine) == (0 if last["published"] is None else 1), f"published {len(mine)} times, and it was said: {last}; {told}"
    for answer in [last, *woken]:
        if answer.get("published"):
            number = int(answer["published"]["ticket"])
            assert number == int(mine[0]["barecount.number"]), f"a publication that the table does not have: {answer}; {told}"
        else:
            assert "published" in answer or answer["failed"] in ("fenced", "staged-input-changed"), f"{answer}; {told}"
    for path, records in live.items():
        assert pq.read_metadata(table_of(lake) / path).num_rows == records, f"{path} has other rows than its commit says; {told}"
    assert sum(live.values()) == (int(mine[0]["barecount.records"]) if mine else sum(live.values())), told


@pytest.mark.skipif(SEEDS == 1, reason="a slot's process costs 2 s of CPU: `make chaos` runs it")
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_an_attempt_whose_worker_ends_anywhere_is_reported_as_the_table_has_it(
    nursery: Nursery,
    furnished_kafka: Kafka,
    lakes: dict[bool, tuple[Path, list[dict[str, Any]]]],
    scouted_attempts: Scouted,
    seed: int,
    tmp_path: Path,
) -> None:
    template, outputs = lakes[True]
    lake = Path(shutil.copytree(template, tmp_path / "lake"))
    faults = faults_of(nursery.choice("attempt"), seed, scouted_attempts, many=2)
    told, frozen = repeat("attempt", seed, faults), list[Process]()
    for turn, fault in enumerate(faults, 1):
        victim = await nursery.start("attempt", attempt_of(furnished_kafka, lake, outputs, turn, tmp_path), fault)
        if not await nursery.meets("attempt", victim, fault, 20):
            await victim.kill()
        elif fault.signal == "STOP":
            frozen.append(victim)
    given = attempt_of(furnished_kafka, lake, outputs, len(faults) + 1, tmp_path)
    last = await nursery.ready("attempt", given)
    said = await last.until(lambda: last.heard("outcome"), 60, "end its attempt")
    assert said["outcome"] == "succeeded", f"{said}; {told}"
    for zombie in frozen:
        zombie.send(signal.SIGCONT)
        await zombie.until(lambda: zombie.heard("outcome"), 60, f"end its attempt; {told}")  # noqa: B023
    reports = await reported(furnished_kafka, given["chain"])
    finals = [one["data"] for one in reports if one["type"] == ReportTaskSucceeded.TYPE]
    assert finals, told
    answers = [{"published": one["publication"]} for one in finals]
    judged(lake, answers[-1], answers, told)
    ids = Counter((one["id"], json.dumps(one["data"], sort_keys=True)) for one in reports)
    assert len({id_ for id_, _ in ids}) == len(ids), f"one command id with two bodies; {told}"
    for process in [last, *frozen]:
        await process.kill()


def attempt_of(kafka: Kafka, lake: Path, outputs: list[dict[str, Any]], turn: int, folder: Path) -> dict[str, Any]:
    """The given of the n-th attempt at the publish stage, with the record that execution would write."""
    create_keypair(folder / "keys", "worker")
    made = bodies()
    plan = PlanSummary(
        pipeline="revenue-kpi", environment="prod", manifest_version=1, manifest_digest=digest(made.manifest),
        contract=ContractRef(name="revenue-kpi", version="v3.2"), data_partitions=(DAY,), mode="run",
    )  # fmt: skip
    ref = TaskRef(stage="publish", data_partition=DAY, attempt=turn, nonce=f"nonce-{turn}", worker_id=f"w-{turn}", incarnation="life-1")
    ticket = PublishTicket(
        app_id=f"acme/prod/revenue-kpi/{DAY}", table="tables/revenue_kpi", number=2 * turn + 1, fence=2 * turn,
        superseded=tuple(2 * earlier + 1 for earlier in range(1, turn)),
    )  # fmt: skip
    task = RunTask(
        run_id="run-1", task=ref, plan=plan, plan_digest=digest(plan.model_dump(mode="json", exclude_none=True)), bodies=made,
        inputs=tuple(StagedOutput.model_validate(one) for one in outputs), lease_seconds=2, ticket=ticket,
    )  # fmt: skip
    login, chain = kafka.settings("worker"), str(uuid5(NAMESPACE_URL, str(folder)))
    told = Envelope.model_validate(
        {"id": uuid4(), "type": task.TYPE, "tenant": "acme", "time": "2026-01-01T00:00:00Z", "correlation": chain, "data": task.to_data()}
    )
    return {
        "lake": str(lake),
        "keys": str(folder / "keys"),
        "pool": f"crash-{folder.name}",
        "chain": chain,
        "envelope": told.model_dump(mode="json", exclude_none=True),
        "kafka": {"bootstrap": kafka.bootstrap, "username": login["sasl_plain_username"], "password": login["sasl_plain_password"]},
    }


async def reported(kafka: Kafka, chain: str) -> list[dict[str, Any]]:
    """The reports of this test's attempts, by their correlation."""
    log = await asyncio.to_thread(read_topic, kafka.librdkafka(), "runs.commands")
    return [one for _, one in sorted(log.records.items()) if one.get("correlation") == chain]


@pytest.fixture(scope="module")
async def scouted_attempts(
    nursery: Nursery,
    furnished_kafka: Kafka,
    lakes: dict[bool, tuple[Path, list[dict[str, Any]]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Scouted:
    if SEEDS == 1:
        return []
    template, outputs = lakes[True]
    folder = tmp_path_factory.mktemp("scouts")
    lake = Path(shutil.copytree(template, folder / "lake"))
    scout = await nursery.ready("attempt", attempt_of(furnished_kafka, lake, outputs, 1, folder))
    await scout.until(lambda: scout.heard("outcome"), 60, "end its attempt")
    return [await scout.points()]
