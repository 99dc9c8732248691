"""The ledger's policy: when its positions are committed, and the process's stop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from barecount_chassis import CommandBus
from barecount_command.policies import LedgerPolicy, Waiting
from barecount_eventlog import KafkaSettings

pytestmark = pytest.mark.unit


class Unclosable:
    """A client whose broker died: its close ends with what its own tasks ended with."""

    def __init__(self, raised: type[BaseException]) -> None:
        self._raised = raised
        self.asked = False

    async def stop(self) -> None:
        self.asked = True
        raise self._raised


@pytest.mark.parametrize("raised", [asyncio.CancelledError, KafkaConnectionError])
async def test_a_client_that_cannot_be_closed_holds_up_nothing_else_that_is_to_be_stopped(raised: type[BaseException]) -> None:
    policy = LedgerPolicy(KafkaSettings("127.0.0.1:1"), cast("CommandBus", None), judged=lambda *_: False)
    positions, looker = Unclosable(raised), Unclosable(raised)
    policy._positions, policy._follower._looker = cast("Any", positions), cast("Any", looker)
    await policy.stop()
    assert positions.asked
    assert looker.asked


class Positions:
    """Notes what is committed."""

    def __init__(self) -> None:
        self.committed: list[dict[int, int]] = []

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.committed.append({where.partition: offset for where, offset in offsets.items()})


async def test_positions_are_committed_once_a_second_and_never_beyond_a_request_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("barecount_command.policies.time.monotonic", lambda: now)
    policy = LedgerPolicy(KafkaSettings("127.0.0.1:1"), cast("CommandBus", None), judged=lambda *_: False)
    positions = Positions()
    policy._positions = cast("Any", positions)
    policy._queues = {0: deque(), 1: deque()}
    policy._committed = {0: 0, 1: 5}

    async def after(seconds: float, **read: int) -> float | None:
        nonlocal now
        now += seconds
        policy._read = {int(name.removeprefix("p")): offset for name, offset in read.items()}
        return await policy._commit()

    assert await after(0, p0=0, p1=5) is None, "nothing has moved"
    assert await after(0, p0=3, p1=5) is None
    assert await after(0.25, p0=4, p1=5) == pytest.approx(0.75), "due later"
    assert await after(0.5, p0=4, p1=9) == pytest.approx(0.25)
    assert positions.committed == [{0: 3}]
    assert await after(0.25, p0=4, p1=9) is None
    assert positions.committed == [{0: 3}, {0: 4, 1: 9}]
    policy._queues[0].append(Waiting(cast("Any", SimpleNamespace(offset=6)), cast("Any", None), {}))
    assert await after(2, p0=8, p1=9) is None
    assert positions.committed[-1] == {0: 6}, "the request at 6 comes again after a crash"
