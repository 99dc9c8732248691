"""`kill -9` of the projector, of the rebuild itself and of one of its processes during `barecount rebuild`, and one of them frozen:
nothing lost, the live model untouched, the next rebuild not held."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import psutil
import pytest
from barecount_local import record
from barecount_local.passwords import Passwords
from barecount_local.services import database_url
from barecount_local.settings import StackSettings
from barecount_readmodel.shares import cores
from confluent_kafka import Producer

from tests.support.stack import Stack

EXAMPLE = Path(__file__).resolve().parents[2] / "contracts" / "examples" / "RunLogged.v1.json"
# enough that a rebuild takes longer than it takes to kill something
LINES = 20_000

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


class Lines:
    """Log lines in the log, and how many."""

    def __init__(self, product: Stack) -> None:
        self.product, self.count = product, 0

    def more(self, lines: int) -> None:
        self.count += lines
        _fill(self.product, lines)


@pytest.fixture(scope="module")
def lines(victim_stack: Stack) -> Lines:
    """Many of them, projected. The product's rebuilds are divided among processes from far fewer records on than they would be."""
    made = Lines(replace(victim_stack, extra={**victim_stack.extra, "BARECOUNT_REBUILD_SPREAD": "1000"}))
    made.more(LINES)
    _until(lambda: _lag(victim_stack) == 0, "execution to project the lines", 180)
    return made


def test_the_projector_and_then_the_rebuild_are_killed_and_nothing_is_lost(lines: Lines) -> None:
    product = lines.product
    rebuild = _begun(product)
    lines.more(1_500)
    product.kill("execution")
    # these come while it is away
    lines.more(1_500)
    done = rebuild.communicate(timeout=180)[0]
    assert rebuild.returncode == 0, done
    _until(lambda: _lag(product) == 0, "execution to come back", 60)

    before, rebuild = _models(product), _begun(product)
    _until(lambda: _models(product).get("_next", (0, 0))[1] > 0, "the rebuild to write rows", 60)
    _processes_of(rebuild)[0].send_signal(signal.SIGKILL)
    words = rebuild.communicate(timeout=60)[0]
    assert rebuild.returncode == 1
    assert "ended with status -9 before it was done" in words
    after = _models(product)
    assert {name: after.get(name, (0, 0))[0] for name in before} == {name: schema for name, (schema, _) in before.items()}
    assert after[""][1] >= before[""][1], "the live model does not go back"
    lines.more(500)
    _until(lambda: _lag(product) == 0, "the live model to go on", 60)
    _equal(lines)
    assert json.loads(product.run("rebuild", "execution", "--rollback", "--output", "json").stdout)[0]["step"] == "rolled-back"
    assert _lag(product) == 0


@pytest.mark.skipif(cores() < 2, reason="on one core a rebuild is not divided")
def test_one_of_a_rebuild_s_processes_is_killed_and_another_is_frozen_and_the_next_rebuild_is_not_held(lines: Lines) -> None:
    product = lines.product
    rebuild = _begun(product)
    _other(rebuild).send_signal(signal.SIGKILL)
    words = rebuild.communicate(timeout=60)[0]
    assert rebuild.returncode == 1
    assert "ended with status -9 before it was done; the live model is as it was" in words

    rebuild = _begun(product)
    frozen = _other(rebuild)
    # it holds a connection to PostgreSQL beside those to Kafka once it writes rows
    _until(lambda: len(frozen.net_connections()) > 2, "the other process to be at work", 60)
    frozen.suspend()
    try:
        _processes_of(rebuild)[0].send_signal(signal.SIGKILL)
        rebuild.communicate(timeout=60)
        lines.more(500)
        _until(lambda: _lag(product) == 0, "the live model to go on", 60)
        _equal(lines)
    finally:
        frozen.resume()
    _until(lambda: not frozen.is_running() or frozen.status() == psutil.STATUS_ZOMBIE, "the frozen process to end when it thaws", 30)
    _until(lambda: _lag(product) == 0, "the live model to go on", 60)


def _equal(lines: Lines) -> None:
    """A rebuild finds the live rows as it makes them anew, all of them, and not only those that a killed one had not made."""
    projected = _models(lines.product)[""][1]
    told = json.loads(lines.product.run("rebuild", "execution", "--output", "json").stdout)[0]
    assert (told["tables"]["logs"], told["differences"]) == (lines.count, [])
    assert told["events"] >= projected


def _models(product: Stack) -> dict[str, tuple[int, int]]:
    """What execution's database holds: what follows the live model's name (nothing, _next, _previous) -> the schema's id, offsets in it."""

    async def look() -> dict[str, tuple[int, int]]:
        settings = StackSettings.of(product.env)
        found = record.read(settings.record)
        assert found
        conn = await asyncpg.connect(database_url("execution", settings, found["ports"], Passwords.of(product.data)))
        try:
            made = await conn.fetch(
                "SELECT oid, nspname, substr(nspname, 21) AS after FROM pg_namespace WHERE nspname ~ '^execution_[0-9a-f]{10}'"
            )
            count = "SELECT coalesce(sum(next_offset), 0)::bigint FROM {}.projection_positions"
            return {row["after"]: (row["oid"], await conn.fetchval(count.format(row["nspname"]))) for row in made}
        finally:
            await conn.close()

    return asyncio.run(look())


def _fill(product: Stack, lines: int) -> None:
    producer, held = Producer({**product.librdkafka_admin(), "linger.ms": 20}), json.loads(EXAMPLE.read_text())
    for number in range(lines):
        body = {**held, "id": str(uuid4()), "data": {**held["data"], "sequence": number}}
        producer.produce("run.logs", json.dumps(body).encode(), key=b"run", partition=number % 4)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0


def _begun(product: Stack) -> subprocess.Popen[str]:
    """A rebuild whose process is there and has its schema."""
    rebuild = product.start("rebuild", "execution", "--output", "json")
    log = product.data / "logs" / "execution.rebuild.log"
    before = _created(log)
    _until(lambda: _processes_of(rebuild) and _created(log) > before, "the rebuild to begin", 60)
    return rebuild


def _created(log: Path) -> int:
    return log.read_text().count("view-set-created") if log.exists() else 0


def _processes_of(rebuild: subprocess.Popen[str]) -> list[psutil.Process]:
    return [child for child in psutil.Process(rebuild.pid).children() if "barecount_execution.rebuild" in child.cmdline()]


def _other(rebuild: subprocess.Popen[str]) -> psutil.Process:
    """The second of the processes among which a rebuild is divided."""
    (own,) = _processes_of(rebuild)

    def others() -> list[psutil.Process]:
        return [child for child in own.children() if any("spawn_main" in part for part in child.cmdline())]

    _until(others, "the rebuild to be divided", 60)
    return others()[0]


def _lag(product: Stack) -> int | None:
    row: dict[str, Any] = product.processes()["execution"]
    return row["lag"] if row["health"] == "ready" else None


def _until(look: Callable[[], object], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)  # nobody tells from outside
