"""Many rows at once. PostgreSQL refuses COPY under row-level security, so COPY goes into a stage and one INSERT moves the rows.

A rebuild's tables have no policies yet (Database.finish): rows that cannot be there already go into them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .schema import quoted
from .view import Connection

# below this a few pipelined INSERTs are faster than making a stage
FEW = 50


async def insert_rows(
    conn: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, on_conflict: str = ""
) -> None:
    """Inserts rows into a view's table, inside `apply`.

    on_conflict: what follows ON CONFLICT, such as `(id) DO UPDATE SET state = excluded.state`. Left out, no such row may be there: the
    position that commits with the rows sees to it. Fold rows of one key before: PostgreSQL updates a row once per statement (error 21000).
    """
    if not rows:
        return
    names, conflict = ", ".join(quoted(column) for column in columns), f" ON CONFLICT {on_conflict}" if on_conflict else ""
    if len(rows) < FEW:
        places = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        await conn.executemany(f"INSERT INTO {quoted(table)} ({names}) VALUES ({places}){conflict}", rows)
        return
    if not conflict and getattr(conn, "bare", False):
        await conn.copy_records_to_table(table, records=rows, columns=list(columns))
        return
    stage = f"stage_{table}"
    await conn.execute(f"CREATE TEMPORARY TABLE {quoted(stage)} ON COMMIT DROP AS SELECT {names} FROM {quoted(table)} WITH NO DATA")
    await conn.copy_records_to_table(stage, records=rows, columns=list(columns))
    await conn.execute(f"INSERT INTO {quoted(table)} ({names}) SELECT {names} FROM {quoted(stage)}{conflict}; DROP TABLE {quoted(stage)}")
