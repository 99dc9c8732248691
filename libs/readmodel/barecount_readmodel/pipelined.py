"""Many small statements in few round trips: what a view executes in a batch goes to PostgreSQL together, in its order, with the commit.

A view writes row by row because that reads well; a projection would pay a round trip for each. Here `execute` with arguments is kept as
`EXECUTE <prepared>(literals)` and sent with the next thing that needs an answer, or at the end of the batch. asyncpg has no pipeline mode.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final
from uuid import UUID

from .schema import literal
from .view import Connection

# characters of one round trip; more would only hold memory
MOST: Final = 1_000_000
# rows from which asyncpg's own executemany is faster than literals
MANY: Final = 50
# connections come and go: what is known of more than so many is forgotten and asked again
_KNOWN: Final = 64


class Prepared:
    """Which statements stand prepared on which connection of a pool, by the process id that serves it."""

    def __init__(self) -> None:
        self._names: dict[int, set[str]] = {}

    async def on(self, conn: Connection) -> set[str]:
        pid = conn.get_server_pid()
        if pid not in self._names:
            if len(self._names) >= _KNOWN:
                self._names.clear()
            rows = await conn.fetch("SELECT name FROM pg_prepared_statements WHERE from_sql AND name LIKE 'p%'")
            self._names[pid] = {str(row["name"]) for row in rows}
        return self._names[pid]

    def forget(self, conn: Connection) -> None:
        """After an error nothing is known: a statement may have failed before or after it was prepared."""
        self._names.clear() if conn.is_closed() else self._names.pop(conn.get_server_pid(), None)


class Pipelined:
    """A view's connection in a projection. `execute` answers nothing: no view may look at its status. Ends with `commit`."""

    def __init__(self, conn: Connection, prepared: set[str], *, bare: bool = False) -> None:
        """prepared: the names that stand on this connection already; kept by the caller beside it. bare: see Database."""
        self._conn, self._prepared, self.bare = conn, prepared, bare
        self._waiting: list[str] = []
        self._size = 0

    async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:
        row = _literals(arguments) if arguments else None
        if row is None:
            await self.flush()
            return await self._conn.execute(query, *arguments, timeout=timeout)
        await self._later(query, row)
        return ""

    async def flush(self) -> None:
        """Raises what the first failing statement raises; the transaction is lost then, as always."""
        if self._waiting:
            text, self._waiting, self._size = ";".join(self._waiting), [], 0
            await self._conn.execute(text)

    async def commit(self) -> None:
        """Sends what waits, and COMMIT with it. Raises as `flush`."""
        self._waiting.append("COMMIT")
        await self.flush()

    async def executemany(self, command: str, args: Sequence[Sequence[Any]], *, timeout: float | None = None) -> None:
        rows = list(args)
        found = [_literals(row) for row in rows] if len(rows) < MANY else [None]
        if None in found:
            await self.flush()
            await self._conn.executemany(command, rows, timeout=timeout)
            return
        for row in found:
            await self._later(command, row or "")

    async def fetch(self, query: str, *args: Any, **more: Any) -> Any:
        await self.flush()
        return await self._conn.fetch(query, *args, **more)

    async def fetchrow(self, query: str, *args: Any, **more: Any) -> Any:
        await self.flush()
        return await self._conn.fetchrow(query, *args, **more)

    async def fetchval(self, query: str, *args: Any, **more: Any) -> Any:
        await self.flush()
        return await self._conn.fetchval(query, *args, **more)

    async def copy_records_to_table(self, table_name: str, **more: Any) -> str:
        await self.flush()
        return await self._conn.copy_records_to_table(table_name, **more)

    async def _later(self, query: str, row: str) -> None:
        name = _name(query)
        if name not in self._prepared:
            # not with the others: a statement that is wrong must not take the blame of theirs
            await self._conn.execute(f"PREPARE {name} AS {query}")
            self._prepared.add(name)
        self._waiting.append(f"EXECUTE {name}({row})")
        self._size += len(row)
        if self._size > MOST:
            await self.flush()


@cache
def _name(query: str) -> str:
    return f"p{hashlib.sha256(query.encode()).hexdigest()[:16]}"


def _literals(arguments: Sequence[Any]) -> str | None:
    """The arguments as untyped literals, which PostgreSQL reads as the parameters' types; None when one has no such form here."""
    found = []
    for argument in arguments:
        write = _WRITERS.get(type(argument))
        text = write(argument) if write is not None else None
        if text is None:
            return None
        found.append(text)
    return ", ".join(found)


_WRITERS: Final[Mapping[type, Callable[[Any], str | None]]] = {
    type(None): lambda value: "NULL",
    str: literal,
    bool: lambda value: "'t'" if value else "'f'",
    int: lambda value: f"'{value}'",
    float: lambda value: f"'{value}'",
    Decimal: lambda value: f"'{value}'",
    UUID: lambda value: f"'{value}'",
    datetime: lambda value: f"'{value.isoformat()}'" if value.tzinfo is not None else None,
    date: lambda value: f"'{value.isoformat()}'",
}
