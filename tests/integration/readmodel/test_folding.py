"""What is folded leaves the rows that the same words leave one by one."""

from __future__ import annotations

import secrets
from typing import Any

import asyncpg
import pytest
from barecount_readmodel import Database, Folded, columns_of
from barecount_readmodel import folding as of_folding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DDL = """CREATE TABLE things (tenant text NOT NULL, "offset" bigint NOT NULL, name text, weight integer, at timestamptz, seen jsonb,
    PRIMARY KEY (tenant, "offset"));"""
KEY = ("tenant", "offset")
NAMES = ("name", "weight")

keys = st.tuples(st.sampled_from("ab"), st.integers(0, 2))
values = st.fixed_dictionaries({}, optional={"name": st.sampled_from("xyz"), "weight": st.one_of(st.none(), st.integers(0, 9))})
whole = st.fixed_dictionaries({"name": st.sampled_from("xyz"), "weight": st.integers(0, 9)})
words = st.one_of(
    st.tuples(st.just("add"), keys, whole, st.sets(st.sampled_from(NAMES))),
    st.tuples(st.just("set"), keys, values.filter(bool), st.just(set())),
    st.tuples(st.just("drop"), keys, st.just({}), st.just(set())),
)
Word = tuple[str, tuple[str, int], dict[str, Any], set[str]]


async def one_by_one(conn: Any, table: str, said: list[Word]) -> None:
    """What a view would say without folding."""
    for word, key, columns, changes in said:
        if word == "add":
            told = ", ".join(f"{name} = excluded.{name}" for name in sorted(changes))
            conflict = f'(tenant, "offset") DO UPDATE SET {told}' if told else "DO NOTHING"
            row = (*key, columns["name"], columns["weight"])
            await conn.execute(f'INSERT INTO {table} (tenant, "offset", name, weight) VALUES ($1, $2, $3, $4) ON CONFLICT {conflict}', *row)
        elif word == "set":
            told = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 3))
            await conn.execute(f'UPDATE {table} SET {told} WHERE tenant = $1 AND "offset" = $2', *key, *columns.values())
        else:
            await conn.execute(f'DELETE FROM {table} WHERE tenant = $1 AND "offset" = $2', *key)


def fold(folded: Folded, said: list[Word]) -> None:
    for word, key, columns, changes in said:
        if word == "add":
            folded.add(key, columns, changes)
        elif word == "set":
            folded.set(key, **columns)
        else:
            folded.drop(key)


@pytest.mark.parametrize("few", [1, 1000], ids=["by-arrays", "row-by-row"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(words, max_size=6), said=st.lists(words, max_size=14))
async def test_folded_words_leave_what_they_leave_one_by_one(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int, before: list[Word], said: list[Word]
) -> None:
    monkeypatch.setattr(of_folding, "FEW", few)
    plain, other = (f"things{secrets.token_hex(4)}" for _ in range(2))
    async with database.pool.acquire() as conn:
        for table in (plain, other):
            await conn.execute(DDL.replace("TABLE things", f"TEMPORARY TABLE {table}"))
            await one_by_one(conn, table, before)
        folded = Folded(other, KEY, columns_of(DDL, "things"))
        fold(folded, said)
        await folded.write(conn)
        await one_by_one(conn, plain, said)
        found = [await conn.fetch(f"SELECT * FROM {table} ORDER BY 1, 2") for table in (plain, other)]
        await conn.execute(f"DROP TABLE {plain}, {other}")
    assert found[0] == found[1]


async def test_what_was_written_is_not_written_again(database: Database) -> None:
    async with database.pool.acquire() as conn:
        await conn.execute(DDL.replace("TABLE things", "TEMPORARY TABLE things"))
        folded = Folded("things", KEY, columns_of(DDL, "things"))
        folded.add(("a", 1), {"name": "x"})
        await folded.write(conn)
        await conn.execute("DELETE FROM things")
        await folded.write(conn)
        assert await conn.fetchval("SELECT count(*) FROM things") == 0
        await conn.execute("DROP TABLE things")


def test_columns_are_the_ddl_s() -> None:
    kinds = {"tenant": "text", "offset": "bigint", "name": "text", "weight": "integer", "at": "timestamptz", "seen": "jsonb"}
    assert columns_of(DDL, "things") == kinds
    with pytest.raises(ValueError, match="no table others"):
        columns_of(DDL, "others")


async def test_a_batch_of_rows_that_are_alike_is_one_statement(database: Database) -> None:
    """Else a rebuild pays for each row what a statement costs."""

    class Heard:
        def __init__(self, conn: asyncpg.Connection[Any]) -> None:
            self.conn, self.statements = conn, list[str]()

        async def execute(self, query: str, *arguments: Any) -> str:
            self.statements.append(query)
            return await self.conn.execute(query, *arguments)

    async with database.pool.acquire() as conn:
        await conn.execute(DDL.replace("TABLE things", "TEMPORARY TABLE things"))
        heard, folded = Heard(conn), Folded("things", KEY, columns_of(DDL, "things"))  # type: ignore[arg-type]
        for number in range(of_folding.FEW):
            folded.add(("a", number), {"name": "x"})
            folded.set(("a", number), weight=number)
            folded.set(("a", number), name="y")
        await folded.write(heard)  # type: ignore[arg-type]
        assert len(heard.statements) == 1
        rows = await conn.fetch("SELECT name, weight FROM things ORDER BY weight")
        assert [tuple(row) for row in rows] == [("y", number) for number in range(of_folding.FEW)]
        await conn.execute("DROP TABLE things")
