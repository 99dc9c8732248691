"""Many things said of the same rows in one batch become one statement a row, and rows that are alike one statement.

A view says row by row what became of it, in the log's order; `write` is what PostgreSQL hears. A run that begins and ends in one batch is
one INSERT then, instead of an INSERT and six UPDATEs of a row that nobody has seen yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .schema import quoted
from .view import Connection

# below this many rows, statements of one row each go along with the commit (pipelined.py); above, arrays are one statement
FEW: Final = 20

Key = tuple[Any, ...]


@dataclass(slots=True)
class _Said:
    """Of one row. columns: its newest values. inserts: whether it is made if it is not there.

    changes: which columns an existing row takes.
    """

    columns: dict[str, Any] = field(default_factory=dict)
    changes: set[str] = field(default_factory=set)
    inserts: bool = False
    deletes: bool = False


class Folded:
    """What one batch says of one table. types: column -> PostgreSQL's type, of all columns that are ever named; key: its primary key."""

    def __init__(self, table: str, key: Sequence[str], types: Mapping[str, str]) -> None:
        self._table, self._key, self._types = table, tuple(key), types
        # one after the other; what cannot be said together with what was said of a row before begins the next
        self._stages: list[dict[Key, _Said]] = [{}]

    def add(self, key: Key, columns: Mapping[str, Any], changes: Collection[str] = ()) -> None:
        """A row, unless it is there; then it takes the columns `changes`."""
        said = self._of(key, lambda said: said.inserts or not (said.changes or said.deletes))
        if said.inserts:
            said.columns |= {name: columns[name] for name in changes}
        else:
            said.columns, said.inserts = dict(columns), True
        said.changes.update(changes)

    def set(self, key: Key, **columns: Any) -> None:
        """Values of a row, if it is there."""
        said = self._of(key, lambda said: not said.deletes)
        said.columns |= columns
        said.changes.update(columns)

    def drop(self, key: Key) -> None:
        """No such row."""
        said = self._of(key, lambda said: True)
        said.columns, said.changes, said.inserts, said.deletes = {}, set(), False, True

    async def write(self, conn: Connection) -> None:
        """Everything said so far; after it nothing is. Of statements that need what was said before, say it before they run."""
        stages, self._stages = self._stages, [{}]
        for stage in stages:
            alike: dict[tuple[bool, bool, tuple[str, ...], tuple[str, ...]], list[Key]] = {}
            for key, said in stage.items():
                form = (said.inserts, said.deletes, tuple(said.columns), tuple(sorted(said.changes)))
                alike.setdefault(form, []).append((*key, *said.columns.values()))
            for (inserts, deletes, columns, changes), rows in alike.items():
                await self._write(conn, inserts, deletes, columns, changes, rows)

    def _of(self, key: Key, fits: Callable[[_Said], bool]) -> _Said:
        said = self._stages[-1].setdefault(key, _Said())
        if not fits(said):
            self._stages.append({})
            said = self._stages[-1].setdefault(key, _Said())
        return said

    async def _write(
        self, conn: Connection, inserts: bool, deletes: bool, columns: tuple[str, ...], changes: tuple[str, ...], rows: Sequence[Key]
    ) -> None:
        named = (*self._key, *columns)
        many = len(rows) >= FEW
        if inserts:
            statement = self._insert(named, changes, many)
        elif deletes:
            statement = self._delete(many)
        else:
            statement = self._update(named, columns, many)
        if many:
            await conn.execute(statement, *(list(values) for values in zip(*rows, strict=True)))
            return
        for row in rows:
            await conn.execute(statement, *row)

    def _insert(self, named: Sequence[str], changes: Sequence[str], many: bool) -> str:
        conflict = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in changes)
        on_conflict = f"({_list(self._key)}) DO UPDATE SET {conflict}" if conflict else "DO NOTHING"
        values = f"SELECT * FROM {self._rows(named)}" if many else f"VALUES ({_places(named)})"
        return f"INSERT INTO {quoted(self._table)} ({_list(named)}) {values} ON CONFLICT {on_conflict}"

    def _update(self, named: Sequence[str], columns: Sequence[str], many: bool) -> str:
        if many:
            told = ", ".join(f"{quoted(name)} = said.{quoted(name)}" for name in columns)
            return f"UPDATE {quoted(self._table)} AS held SET {told} FROM {self._rows(named)} WHERE {self._same()}"
        told = ", ".join(f"{quoted(name)} = ${number}" for number, name in enumerate(columns, len(self._key) + 1))
        return f"UPDATE {quoted(self._table)} SET {told} WHERE {self._is()}"

    def _delete(self, many: bool) -> str:
        if many:
            return f"DELETE FROM {quoted(self._table)} AS held USING {self._rows(self._key)} WHERE {self._same()}"
        return f"DELETE FROM {quoted(self._table)} WHERE {self._is()}"

    def _rows(self, named: Sequence[str]) -> str:
        arrays = ", ".join(f"${number}::{_array(self._types[name])}" for number, name in enumerate(named, 1))
        return f"unnest({arrays}) AS said ({_list(named)})"

    def _same(self) -> str:
        return " AND ".join(f"held.{quoted(name)} = said.{quoted(name)}" for name in self._key)

    def _is(self) -> str:
        return " AND ".join(f"{quoted(name)} = ${number}" for number, name in enumerate(self._key, 1))


def _array(kind: str) -> str:
    # asyncpg asks PostgreSQL what an array of JSON is, on every connection, and of texts it knows
    return f"text[]::{kind}[]" if kind in ("json", "jsonb") else f"{kind}[]"


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


def _places(names: Sequence[str]) -> str:
    return ", ".join(f"${number}" for number in range(1, len(names) + 1))


def columns_of(ddl: str, table: str) -> dict[str, str]:
    """The columns of a table and their types of one word, as a view's DDL has them. Raises: ValueError when it makes no such table."""
    found = re.search(rf"CREATE TABLE {table} \((.*?)\);", ddl, re.DOTALL)
    if found is None:
        raise ValueError(f"the DDL makes no table {table}")
    columns = re.sub(r"PRIMARY KEY \([^)]*\)", "", found[1])
    return dict(re.findall(r'(?:^|,)\s*"?(\w+)"? (\w+)', columns))
