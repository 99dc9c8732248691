"""The process that proves commands says what the owner would find out, and whoever asks it never waits for one that is gone or frozen."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psutil
import pytest
from barecount_chassis import Caller, Keyring, ProvingProcess, create_keypair
from barecount_chassis.proving import serve
from barecount_contracts import Envelope, command_digest

ANN = Caller("user:00000000000000aa", "acme", frozenset({"operator"}), "ann")


class Told(NamedTuple):
    digest: str
    vouched: bool


def command(type_: str = "StartRun", **data: Any) -> Envelope:
    return Envelope(id=uuid4(), type=type_, tenant="acme", time=datetime.now(UTC), correlation=uuid4(), data={"pipeline": "kpi", **data})


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name in ("command", "execution"):
        create_keypair(tmp_path, name)
    return tmp_path


@pytest.fixture
async def prover(keys: Path) -> AsyncIterator[ProvingProcess[Told]]:
    prover = ProvingProcess(keys, "command", Told, patience=1, retreat=0)
    await ready(prover)
    yield prover
    await prover.stop()


async def ready(prover: ProvingProcess[Told]) -> None:
    async with asyncio.timeout(20):
        assert await prover.ready()
    assert list(await prover.prove([b"{}"])) == [None]


def process_of(prover: ProvingProcess[Told]) -> psutil.Process:
    assert prover._process is not None
    return psutil.Process(prover._process.pid)


def proving() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if any("barecount_chassis.proving" in word for word in child.cmdline())]


async def test_it_says_what_the_owner_would_find_out(keys: Path, prover: ProvingProcess[Told]) -> None:
    own, other = Keyring(keys, "command"), Keyring(keys, "execution")
    good = own.sign_assertion(ANN, command(text="é€\U0001f600", number=1.5, none=None))
    assert good.assertion is not None
    foreign = other.service_assertion(command("ReportLedgerFacts"))
    # the same as an issuer that no rule lets vouch for it, whose name must not become a path
    stray = good.model_copy(update={"assertion": good.assertion.model_copy(update={"issuer": "../command"})})
    forged = good.model_copy(update={"data": {"pipeline": "payroll"}})
    deep: Any = []
    for _ in range(5_000):
        deep = [deep]
    asked = [good, foreign, forged, stray, command()]
    values = [one.to_bytes() for one in asked]
    values += [b"", b"no json", b"\x00" * 1_000_000, good.to_bytes()[:-2], json.dumps({"data": 2**60}).encode()]
    values += [b'{"data":' + b"[" * 100_000, good.to_bytes()]
    found = list(await prover.prove(values))
    assert found[0] == Told(command_digest(good), True) == found[-1]
    assert found[2] == Told(command_digest(forged), False)
    assert found[1] in (None, Told(command_digest(foreign), True))
    assert found[3:-1] == [None] * 8


async def test_a_killed_one_costs_an_answer_and_is_started_again(prover: ProvingProcess[Told]) -> None:
    first = process_of(prover)
    first.kill()
    assert list(await prover.prove([b"{}"])) == []
    await ready(prover)
    assert process_of(prover) != first


async def test_a_frozen_one_is_waited_for_no_longer_than_its_patience_and_ended(prover: ProvingProcess[Told]) -> None:
    frozen = process_of(prover)
    frozen.suspend()
    async with asyncio.timeout(5):
        # more than the line takes without a reader
        assert list(await prover.prove([b"x" * 2_000_000])) == []
    assert not frozen.is_running()


async def test_who_is_cancelled_while_asking_leaves_the_line_in_order(keys: Path, prover: ProvingProcess[Told]) -> None:
    good = Keyring(keys, "command").sign_assertion(ANN, command())
    asking = asyncio.create_task(prover.prove([good.to_bytes()] * 500))
    await asyncio.sleep(0)  # it has asked
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert list(await prover.prove([b"{}", good.to_bytes()])) == [None, Told(command_digest(good), True)]


async def test_several_owners_get_their_own_answers(keys: Path, prover: ProvingProcess[Told]) -> None:
    ring = Keyring(keys, "command")
    asked = [[ring.sign_assertion(ANN, command(owner=owner, number=n)) for n in range(20)] for owner in range(5)]
    found = await asyncio.gather(*(prover.prove([one.to_bytes() for one in commands]) for commands in asked))
    assert [list(answers) for answers in found] == [[Told(command_digest(one), True) for one in commands] for commands in asked]


async def test_stop_ends_it_also_while_it_starts(keys: Path) -> None:
    prover = ProvingProcess(keys, "command", Told)
    assert list(await prover.prove([b"{}"])) == [], "nobody waits for its start"
    async with asyncio.timeout(20):
        while not proving():  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # between two looks from outside
    await prover.stop()
    assert not proving()
    await ready(prover)
    process = process_of(prover)
    await prover.stop()
    assert not process.is_running()
    assert not proving()


PARENT = """
import asyncio, sys
from pathlib import Path
from barecount_chassis import ProvingProcess
async def main():
    prover = ProvingProcess(Path(sys.argv[1]), "command", lambda *told: told)
    assert await prover.ready()
    print(prover._process.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_it_ends_with_who_started_it(keys: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(keys)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    # whoever adopts it may not look after it
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # between two looks from outside


def test_it_ends_when_nothing_was_asked_for_long(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barecount_chassis.proving.IDLE_SECONDS", 0.05)
    theirs, line = os.pipe()
    serving = threading.Thread(target=serve, args=(Keyring(keys, "command"), theirs, line), daemon=True)
    serving.start()
    serving.join(10)
    assert not serving.is_alive()
    os.close(theirs)
    os.close(line)


async def test_one_that_ended_idle_is_started_again_at_once(keys: Path) -> None:
    prover = ProvingProcess(keys, "command", Told, retreat=1_000)
    await ready(prover)
    assert prover._process is not None
    assert prover._process.stdin is not None
    prover._process.stdin.close()
    await prover._process.wait()
    assert prover._process.returncode == 0
    await ready(prover)
    await prover.stop()
