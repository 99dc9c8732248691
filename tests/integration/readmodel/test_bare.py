"""A schema that a rebuild made without what only questions need is a whole one once it is finished."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import asyncpg
import pytest
from barecount_readmodel import Database, View, insert_rows
from barecount_readmodel.pipelined import Pipelined

from tests.integration.readmodel.kit import NumbersView, fresh_service, service_database
from tests.support.servers import Postgres

SERVICES = ("command", "execution", "lineage", "evidence", "webhooks")
ASKED = {
    "indexes": "SELECT indexdef AS it FROM pg_indexes WHERE schemaname = $1",
    "policies": "SELECT tablename || policyname || roles::text || cmd || coalesce(qual, '') || coalesce(with_check, '') AS it "
    "FROM pg_policies WHERE schemaname = $1",
    "security": "SELECT relname || relrowsecurity || relforcerowsecurity AS it FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
    "WHERE nspname = $1 AND relkind = 'r'",
    "grants": "SELECT table_name || grantee || privilege_type AS it FROM information_schema.role_table_grants WHERE table_schema = $1",
    "columns": "SELECT table_name || column_name || data_type || is_nullable AS it FROM information_schema.columns WHERE table_schema = $1",
    "usage": "SELECT array_to_string(nspacl, ',') AS it FROM pg_namespace WHERE nspname = $1",
}


async def looks(conn: Any, schema: str) -> dict[str, list[str]]:
    found = {}
    for name, query in ASKED.items():
        found[name] = sorted(str(row["it"]).replace(schema, "<schema>") for row in await conn.fetch(query, schema))
    return found


def views_of(service: str) -> Sequence[View]:
    module = import_module(f"barecount_{service}.projection")
    found = getattr(module, "VIEWS", None)
    return list(found if found is not None else module.views())


@pytest.mark.parametrize("name", SERVICES)
async def test_a_finished_schema_is_the_one_that_a_service_makes(postgres: Postgres, name: str) -> None:
    service, views = fresh_service(), views_of(name)
    database = await Database.open(await service_database(postgres, service=service), service=service)
    try:
        at_once = await database.prepare(views, "whole")
        bare = await database.prepare(views, "bare_first", bare=True)
        async with database.pool.acquire() as conn:
            assert (await looks(conn, bare))["policies"] == []
            await database.finish(views)
            made, finished = await looks(conn, at_once), await looks(conn, bare)
        assert made == finished
        assert made["policies"]
        assert made["grants"]
    finally:
        await database.close()


async def test_nobody_may_ask_a_bare_schema(database: Database) -> None:
    await database.prepare([NumbersView("t")], "building", bare=True)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.query("acme") as conn:
            await conn.fetch("SELECT * FROM building.tallies")
    await database.finish([NumbersView("t")])
    async with database.query("acme") as conn:
        assert await conn.fetch("SELECT * FROM tallies") == []


@pytest.mark.parametrize("bare", [True, False])
async def test_many_rows_come_whole_into_both(database: Database, bare: bool) -> None:
    await database.prepare([NumbersView("t")], "building", bare=bare)
    rows = [(f"tenant {number}", 1, number) for number in range(200)]
    async with database.pool.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL search_path TO building")
        pipelined = Pipelined(conn, await database.prepared.on(conn), bare=database.bare)
        await insert_rows(pipelined, "tallies", ("tenant", "events", "total"), rows)  # type: ignore[arg-type]
        await pipelined.flush()
    async with database.pool.acquire() as conn:
        assert await conn.fetchval("SELECT sum(total) FROM building.tallies") == sum(range(200))
