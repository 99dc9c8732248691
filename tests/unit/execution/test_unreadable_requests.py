"""A record of control.events that nobody can read asks for no run; admission goes past it once it is parked, and only then."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from barecount_chassis.record import Record
from barecount_execution.policies import Admission, admission
from barecount_readmodel import NotYetProjected, Token

KAFKA = {"bootstrap": "127.0.0.1:9", "username": None, "password": None}


class Rows:
    """A projector that is behind for the first `late` looks."""

    def __init__(self, late: int = 0) -> None:
        self.late, self.asked = late, list[Token]()

    async def wait(self, token: Token, timeout: float) -> None:
        self.asked.append(token)
        if len(self.asked) <= self.late:
            raise NotYetProjected({}, timeout)


def record(value: bytes) -> Record:
    return Record("control.events", 2, 7, datetime.now(UTC), "acme", {}, value)


@pytest.mark.parametrize("late", [0, 2])
async def test_it_is_passed_by_after_the_read_model_has_its_place(late: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barecount_chassis.reader.FIRST_BACKOFF", 0.001)
    rows: Any = Rows(late)
    policy = admission(KAFKA, Admission(bus=None, database=None, projector=rows), "0")  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        assert await policy._done_with(record(b"\x00 poison"))
    assert len(rows.asked) == late + 1
    assert rows.asked[-1].positions == (("control.events", 2, 7),)
    assert policy.failed is None
