"""Builds a view set's schema: the views' tables, the projector's own, row-level security and grants. All or nothing, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg
import structlog

from .view import Connection, View

log = structlog.get_logger(__name__)

# one row a topic partition; the position and the rows of a batch commit together. cluster, last_offset and last_digest say which log
# the rows were made of (origin.py)
OWN_TABLES = """
CREATE TABLE projection_positions (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    inbox_topic text,
    inbox_partition integer,
    inbox_next bigint,
    cluster text,
    last_offset bigint,
    last_digest bytea,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);
CREATE TABLE projection_errors (
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    code text NOT NULL,
    detail text NOT NULL,
    digest text NOT NULL,
    size bigint NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, "offset")
);
"""

# what a row of projection_positions and a snapshot remember about their log
ORIGIN: Final = {"cluster": "text", "last_offset": "bigint", "last_digest": "bytea"}


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL string literal (standard_conforming_strings is on in every supported PostgreSQL)."""
    if "\x00" in text:
        raise ValueError("PostgreSQL text holds no NUL")
    return "'" + text.replace("'", "''") + "'"


async def prepare(conn: Connection, schema: str, views: Sequence[View], *, query_role: str) -> bool:
    """Creates the schema unless it stands; True when it was created. Safe when several processes do it at once."""
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", schema)
        if await conn.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema):
            await add_columns(conn, schema, "projection_positions", ORIGIN)
            return False
        await create(conn, schema, views, query_role=query_role)
    log.info("view-set-created", schema=schema, views={view.NAME: view.VERSION for view in views})
    return True


async def add_columns(conn: Connection, schema: str, table: str, columns: Mapping[str, str]) -> None:
    """Adds what a table of an earlier release lacks; a look first, because ALTER would wait for everybody who uses the table."""
    rows = await conn.fetch("SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2", schema, table)
    standing = {row["column_name"] for row in rows}
    for name, kind in columns.items():
        if name not in standing:
            await conn.execute(f"ALTER TABLE {quoted(schema)}.{quoted(table)} ADD COLUMN {quoted(name)} {kind}")


async def create(conn: Connection, schema: str, views: Sequence[View], *, query_role: str) -> None:
    """The schema with its tables, policies and grants, in the caller's transaction; unqualified names are its tables' from here on."""
    await conn.execute(f"CREATE SCHEMA {quoted(schema)}; SET LOCAL search_path TO {quoted(schema)}")
    await conn.execute(OWN_TABLES)
    for view in views:
        if view.DDL.strip():
            await conn.execute(view.DDL)
    await _secure(conn, schema, query_role)


async def _secure(conn: Connection, schema: str, query_role: str) -> None:
    """Queries see one tenant's rows; the projector, who owns the tables, all. FORCE binds the owner to its policy too."""
    reader, owner = quoted(query_role), quoted(await conn.fetchval("SELECT current_user"))
    await conn.execute(
        f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {reader}; GRANT SELECT ON ALL TABLES IN SCHEMA {quoted(schema)} TO {reader}"
    )
    tables: list[asyncpg.Record] = await conn.fetch(
        "SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND a.attname = 'tenant' AND NOT a.attisdropped",
        schema,
    )
    for row in tables:
        table = f"{quoted(schema)}.{quoted(row['name'])}"
        await conn.execute(
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY; "
            f"CREATE POLICY projector ON {table} FOR ALL TO {owner} USING (true) WITH CHECK (true); "
            f"CREATE POLICY tenant ON {table} FOR SELECT TO {reader} USING "
            f"(tenant = current_setting('barecount.tenant', true) OR current_setting('barecount.tenant', true) = '*')"
        )
