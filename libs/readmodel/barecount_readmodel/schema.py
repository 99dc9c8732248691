"""Builds a view set's schema: the views' tables, the projector's own, row-level security and grants. All or nothing, once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg
import structlog

from .view import Connection, View

log = structlog.get_logger(__name__)

# the indexes of all rows of a service
INDEX_SECONDS: Final = 3600.0

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


async def prepare(conn: Connection, schema: str, views: Sequence[View], *, query_role: str, bare: bool = False) -> bool:
    """Creates the schema unless it stands; True when it was created. Safe when several processes do it at once.

    bare: without what only questions need, until `finish`: nobody may ask it before.
    """
    if not await conn.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema):
        # another process may have made it since the look
        with contextlib.suppress(asyncpg.DuplicateSchemaError):
            made = tables(schema, views) if bare else creation(schema, views, query_role=query_role)
            await at_once(conn, schema, made)
            log.info("view-set-created", schema=schema, views={view.NAME: view.VERSION for view in views})
            return True
    await add_columns(conn, schema, "projection_positions", ORIGIN)
    return False


async def at_once(conn: Connection, name: str, statements: str, seconds: float | None = None) -> None:
    """Executes all statements or none, one process at a time for each name; outside of a transaction. seconds: other than usual.

    They go as one message, which PostgreSQL executes to its end whatever becomes of the sender: one that was frozen in a transaction of
    several messages kept the lock, and with it every process that started meanwhile, for up to a minute.
    """
    await conn.execute(f"SELECT pg_advisory_xact_lock(hashtextextended({literal(name)}, 0)); {statements}", timeout=seconds)


async def add_columns(conn: Connection, schema: str, table: str, columns: Mapping[str, str]) -> None:
    """Adds what a table of an earlier release lacks; a look first, because ALTER would wait for everybody who uses the table."""
    rows = await conn.fetch("SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2", schema, table)
    missing = columns.keys() - {row["column_name"] for row in rows}
    if missing:
        added = ", ".join(f"ADD COLUMN IF NOT EXISTS {quoted(name)} {kind}" for name, kind in columns.items() if name in missing)
        await conn.execute(f"ALTER TABLE {quoted(schema)}.{quoted(table)} {added}")


async def finish(conn: Connection, schema: str, views: Sequence[View], *, query_role: str) -> None:
    """Makes of a bare schema a whole one."""
    made = f"SET LOCAL search_path TO {quoted(schema)};\n{_asked(schema, views, query_role)}"
    await at_once(conn, schema, made, seconds=INDEX_SECONDS)


def creation(schema: str, views: Sequence[View], *, query_role: str) -> str:
    """The statements that make the schema with its tables, policies and grants, for one transaction; from there on unqualified names are
    its tables'. Queries see one tenant's rows; the projector, who owns the tables, all. FORCE binds the owner to its policy too."""
    return f"{tables(schema, views)};\n{_asked(schema, views, query_role)}"


def tables(schema: str, views: Sequence[View]) -> str:
    """The statements that make the schema with its tables: all that a projection needs, and nobody but its owner may look."""
    ddl = "\n;\n".join(view.DDL for view in views)
    return f"CREATE SCHEMA {quoted(schema)}; SET LOCAL search_path TO {quoted(schema)};\n{OWN_TABLES};\n{ddl}"


def _asked(schema: str, views: Sequence[View], query_role: str) -> str:
    indexes = "\n;\n".join(getattr(view, "INDEXES", "") for view in views)
    return (
        f"{indexes};\n"
        f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(query_role)};\n"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {quoted(schema)} TO {quoted(query_role)};\n"
        f"{_SECURE.format(schema=literal(schema), reader=literal(query_role))}"
    )


_SECURE: Final = """
DO $secure$ DECLARE named name; BEGIN
    FOR named IN
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE n.nspname = {schema} AND c.relkind IN ('r', 'p') AND a.attname = 'tenant' AND NOT a.attisdropped
    LOOP
        EXECUTE format($table$
            ALTER TABLE %1$I.%2$I ENABLE ROW LEVEL SECURITY;
            ALTER TABLE %1$I.%2$I FORCE ROW LEVEL SECURITY;
            CREATE POLICY projector ON %1$I.%2$I FOR ALL TO CURRENT_USER USING (true) WITH CHECK (true);
            CREATE POLICY tenant ON %1$I.%2$I FOR SELECT TO %3$I
                USING (tenant = current_setting('barecount.tenant', true) OR current_setting('barecount.tenant', true) = '*');
        $table$, {schema}, named, {reader});
    END LOOP;
END $secure$
"""
