"""Row-level security, the query role, and snapshots."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from barecount_eventlog import Snapshot
from barecount_readmodel import Database, PostgresSnapshots, QueryRoleMissing, ReadModelError, insert_rows

from tests.integration.readmodel.kit import NumbersView, fresh_service, service_database
from tests.support.servers import Postgres


async def fill(database: Database) -> None:
    await database.prepare([NumbersView("t")])
    await database.pool.execute(f"INSERT INTO {database.schema}.tallies VALUES ('acme', 1, 1), ('other', 2, 2), ('it''s', 3, 3)")


async def test_a_query_sees_its_own_tenant_only_whatever_it_asks(database: Database) -> None:
    await fill(database)
    for tenant, seen in (("acme", ["acme"]), ("it's", ["it's"]), ("nobody", []), ("' OR true --", [])):
        async with database.query(tenant) as conn:
            assert [r["tenant"] for r in await conn.fetch("SELECT tenant FROM tallies")] == seen
    async with database.query("*") as conn:
        assert await conn.fetchval("SELECT count(*) FROM tallies") == 3


async def test_a_query_can_change_nothing(database: Database) -> None:
    await fill(database)
    for statement in ("DELETE FROM tallies", "INSERT INTO weather VALUES ('fair')", "CREATE TABLE mine (a int)", "DROP TABLE tallies"):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
            async with database.query("acme") as conn:
                await conn.execute(statement)


async def test_a_tenant_does_not_leak_into_the_next_query_of_the_connection(database: Database) -> None:
    await fill(database)
    for _ in range(3):
        async with database.query("other") as conn:
            assert await conn.fetchval("SELECT sum(events) FROM tallies") == 2
    async with database._readers.acquire() as conn:
        assert await conn.fetchval("SELECT current_setting('barecount.tenant', true)") in (None, "")
        assert await conn.fetchval("SELECT current_user") != database.query_role


async def test_every_table_with_a_tenant_is_forced(database: Database) -> None:
    await fill(database)
    rows = await database.pool.fetch(
        "SELECT relname, relrowsecurity AND relforcerowsecurity AS forced FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE nspname = $1 AND relkind = 'r'",
        database.schema,
    )
    assert {row["relname"] for row in rows if row["forced"]} == {"numbers", "tallies"}


async def test_a_query_without_a_tenant_or_before_the_schema_is_refused(database: Database) -> None:
    with pytest.raises(ReadModelError, match="start the projector"):
        async with database.query("acme"):
            pass
    await fill(database)
    with pytest.raises(ValueError, match="needs a tenant"):
        async with database.query(""):
            pass


async def test_a_missing_query_role_is_named_with_what_to_run(postgres: Postgres) -> None:
    service = fresh_service()
    url = await service_database(postgres, service=service, query_role=False)
    with pytest.raises(QueryRoleMissing, match=f'CREATE ROLE "{service}_query" NOLOGIN; GRANT "{service}_query" TO "{service}_login"'):
        await Database.open(url, service=service)


async def test_the_query_role_is_made_when_the_login_may(postgres: Postgres) -> None:
    service = fresh_service()
    database = await Database.open(await postgres.create_database(), service=service)
    await fill(database)
    async with database.query("acme") as conn:
        assert await conn.fetchval("SELECT current_user") == f"{service}_query"
        assert await conn.fetchval("SELECT count(*) FROM tallies") == 1
    await database.close()


async def test_many_processes_prepare_one_view_set_at_once(database: Database) -> None:
    names = await asyncio.gather(*(database.prepare([NumbersView("t")]) for _ in range(8)))
    assert len(set(names)) == 1


async def test_a_view_set_whose_ddl_fails_leaves_nothing_behind(database: Database) -> None:
    class Broken(NumbersView):
        NAME = "broken"
        DDL = "CREATE TABLE good (a int); CREATE TABLE bad (nonsense nonsense)"

    with pytest.raises(asyncpg.PostgresError):
        await database.prepare([NumbersView("t"), Broken("t")])
    assert database.schema is None
    assert await database.pool.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname LIKE $1", f"{database.service}%") == 0


@pytest.mark.parametrize("count", [0, 3, 500])
async def test_many_rows_go_into_a_table_under_row_level_security(database: Database, count: int) -> None:
    await fill(database)
    rows = [(f"t{n % 200}x{n}", n, 1) for n in range(count)]
    async with database.pool.acquire() as conn:
        for _ in range(2):
            async with conn.transaction():
                await conn.execute(f"SET LOCAL search_path TO {database.schema}")
                more = "(tenant) DO UPDATE SET events = tallies.events + excluded.events"
                await insert_rows(conn, "tallies", ("tenant", "events", "total"), rows, on_conflict=more)
    async with database.query("*") as conn:
        assert await conn.fetchval("SELECT coalesce(sum(events), 0) FROM tallies WHERE tenant LIKE 't%'") == 2 * sum(range(count))


async def test_the_newest_snapshot_is_kept_by_form_and_partition(database: Database) -> None:
    store = PostgresSnapshots(database)
    assert await store.load("s", 0, "v1") is None
    for events_next in (10, 30, 20):
        await store.save("s", 0, Snapshot("v1", events_next, events_next // 2, b"%d" % events_next))
    await store.save("s", 1, Snapshot("v1", 5, 2, b"other partition"))
    await store.save("s", 0, Snapshot("v2", 1, 1, b"other form"))
    assert await store.load("s", 0, "v1") == Snapshot("v1", 30, 15, b"30")
    assert await PostgresSnapshots(database).load("s", 0, "v2") == Snapshot("v2", 1, 1, b"other form")


async def test_no_transaction_of_a_projector_outlives_its_process_by_more_than_a_minute(database: Database) -> None:
    """A process frozen between a statement's messages is `active` to PostgreSQL: the timeout for idle transactions never came for it."""
    assert await database.pool.fetchval("SHOW transaction_timeout") == "1min"
    assert await database.pool.fetchval("SHOW idle_in_transaction_session_timeout") == "10s"
