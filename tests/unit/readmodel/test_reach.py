"""A caller's consistency token at the edge: waited for, narrowed to the service's own topics, or refused with the problem's code."""

from __future__ import annotations

from typing import Any

import pytest
from barecount_chassis import Problem
from barecount_contracts import Position
from barecount_readmodel import NotYetProjected, Token, reach

SECRET = b"s" * 32
TOKEN = Token.of(Position(topic="control.events", partition=1, offset=7), Position(topic="elsewhere", partition=0, offset=3))


class Projector:
    """Remembers what it was asked to wait for."""

    def __init__(self, *, late: bool = False) -> None:
        self.asked: list[tuple[tuple[str, int, int], ...]] = []
        self._late = late

    async def wait(self, token: Token, timeout: float) -> None:
        self.asked.append(token.positions)
        if self._late:
            raise NotYetProjected({("control.events", 1): 7}, timeout)


async def reached(projector: Any, token: str | None, **more: Any) -> None:
    await reach(projector, token, SECRET, "acme", **more)


async def test_without_a_token_nothing_is_waited_for() -> None:
    projector = Projector()
    await reached(projector, None)
    assert projector.asked == []


async def test_positions_of_logs_that_the_service_does_not_read_are_left_to_others() -> None:
    projector = Projector()
    await reached(projector, TOKEN.encode(SECRET, "acme"))
    await reached(projector, TOKEN.encode(SECRET, "acme"), topics=("control.events",))
    assert projector.asked == [TOKEN.positions, TOKEN.positions[:1]]


async def test_a_late_read_model_and_a_foreign_token_are_problems_with_their_codes() -> None:
    with pytest.raises(Problem) as late:
        await reached(Projector(late=True), TOKEN.encode(SECRET, "acme"))
    with pytest.raises(Problem) as foreign:
        await reached(Projector(), TOKEN.encode(b"t" * 32, "acme"))
    assert (late.value.code, foreign.value.code) == ("not-yet-projected", "token-foreign")
