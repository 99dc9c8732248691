"""What a view executes reaches PostgreSQL in its order, in few round trips, with the commit at its end."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, cast
from uuid import UUID

import pytest
from barecount_readmodel.pipelined import MANY, Pipelined
from barecount_readmodel.view import Connection


class Wire:
    """Takes what a connection would send; one entry a round trip."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:
        self.sent.append(f"{query} {arguments}" if arguments else query)
        return "UPDATE 1"

    async def executemany(self, command: str, args: Any, *, timeout: float | None = None) -> None:
        self.sent.append(f"{command} x{len(args)}")

    async def fetchval(self, query: str, *arguments: Any, **more: Any) -> int:
        self.sent.append(query)
        return 1


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def pipelined(wire: Wire) -> Pipelined:
    return Pipelined(cast("Connection", wire), set())


def named(wire: Wire) -> dict[str, str]:
    """Prepared name -> statement."""
    return dict(one.removeprefix("PREPARE ").split(" AS ", 1) for one in wire.sent if one.startswith("PREPARE "))


async def test_a_batch_without_questions_goes_out_at_once_and_commits(wire: Wire, pipelined: Pipelined) -> None:
    await pipelined.execute("INSERT INTO a VALUES ($1)", 1)
    await pipelined.executemany("INSERT INTO b VALUES ($1, $2)", [("x", None), ("it's", True)])
    await pipelined.execute("INSERT INTO a VALUES ($1)", 2)
    assert not any("EXECUTE" in one for one in wire.sent)
    await pipelined.commit()
    a, b = named(wire)
    assert wire.sent[-1] == f"EXECUTE {a}('1');EXECUTE {b}('x', NULL);EXECUTE {b}('it''s', 't');EXECUTE {a}('2');COMMIT"
    assert len(wire.sent) == 3, "each statement is prepared once"


async def test_a_question_sees_what_was_executed_before_it(wire: Wire, pipelined: Pipelined) -> None:
    await pipelined.execute("INSERT INTO a VALUES ($1)", 1)
    assert await pipelined.fetchval("SELECT count(*) FROM a") == 1
    assert wire.sent[-2].startswith("EXECUTE ")
    assert wire.sent[-1] == "SELECT count(*) FROM a"


async def test_what_has_no_literal_goes_as_an_argument_after_all_before_it(wire: Wire, pipelined: Pipelined) -> None:
    await pipelined.execute("INSERT INTO a VALUES ($1)", 1)
    await pipelined.execute("INSERT INTO c VALUES ($1)", [1, 2])
    await pipelined.executemany("INSERT INTO c VALUES ($1)", [(b"bytes",)])
    assert [one.split(" ")[0] for one in wire.sent] == ["PREPARE", "EXECUTE", "INSERT", "INSERT"]


async def test_many_rows_go_in_one_call_of_their_own(wire: Wire, pipelined: Pipelined) -> None:
    await pipelined.executemany("INSERT INTO a VALUES ($1)", [(n,) for n in range(MANY)])
    assert wire.sent == [f"INSERT INTO a VALUES ($1) x{MANY}"]


async def test_no_rows_are_no_round_trip(wire: Wire, pipelined: Pipelined) -> None:
    await pipelined.executemany("INSERT INTO a VALUES ($1)", [])
    assert wire.sent == []


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "'2026-01-02T03:04:05.000006+00:00'"),
        (date(2026, 1, 2), "'2026-01-02'"),
        (UUID(int=1), "'00000000-0000-0000-0000-000000000001'"),
        (-1.5, "'-1.5'"),
        ("\\'; DROP TABLE a; --", "'\\''; DROP TABLE a; --'"),
    ],
)
async def test_every_kind_of_value_has_its_literal(wire: Wire, pipelined: Pipelined, value: Any, written: str) -> None:
    await pipelined.execute("INSERT INTO a VALUES ($1)", value)
    await pipelined.commit()
    assert wire.sent[-1].partition("(")[2] == f"{written});COMMIT"


async def test_a_time_without_a_zone_is_no_literal(wire: Wire, pipelined: Pipelined) -> None:
    await pipelined.execute("INSERT INTO a VALUES ($1)", datetime(2026, 1, 2))
    assert wire.sent[-1].startswith("INSERT")
