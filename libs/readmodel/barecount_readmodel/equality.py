"""Whether two schemas hold the same rows, each read in a snapshot of its own: hashes by bucket first, then the rows of unequal buckets.

What the log does not determine is left out by one rule: columns whose default is the clock (`applied_at`, `parked_at`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from .schema import ORIGIN, quoted
from .view import Connection

BUCKETS: Final = 1024
SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Difference:
    """One table. missing: live rows that the rebuilt one lacks, surplus: rebuilt rows that live lacks; both as text, the first few."""

    table: str
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    missing_count: int
    surplus_count: int

    def __str__(self) -> str:
        lines = [f"table {self.table}: {self.missing_count} live rows are not in the rebuilt one, {self.surplus_count} are only there"]
        lines += [f"  live     {row}" for row in self.missing] + [f"  rebuilt  {row}" for row in self.surplus]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Comparison:
    """tables: name -> rows compared. left_out: `table.column` that the log does not determine."""

    tables: dict[str, int]
    left_out: tuple[str, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    columns: tuple[str, ...]


async def compare(live: Connection, live_schema: str, other: Connection, other_schema: str) -> Comparison:
    """Both connections stand in a repeatable-read transaction. Every table, every column but those of the rule."""
    mine, left_out = await _tables(live, live_schema)
    theirs, _ = await _tables(other, other_schema)
    differences: list[Difference] = []
    counts: dict[str, int] = {}
    for name in sorted(mine.keys() | theirs.keys()):
        if name not in mine or name not in theirs or mine[name].columns != theirs[name].columns:
            differences.append(Difference(name, ("the tables have other columns",), (), 0, 0))
            continue
        ours = await _buckets(live, live_schema, mine[name])
        found = await _buckets(other, other_schema, mine[name])
        counts[name] = sum(count for count, *_ in ours.values())
        unequal = sorted(bucket for bucket in ours.keys() | found.keys() if ours.get(bucket) != found.get(bucket))
        if unequal:
            held = await _rows(live, live_schema, mine[name], unequal)
            made = await _rows(other, other_schema, mine[name], unequal)
            missing, surplus = held - made, made - held
            differences.append(
                Difference(name, tuple(sorted(missing)[:SHOWN]), tuple(sorted(surplus)[:SHOWN]), missing.total(), surplus.total())
            )
    return Comparison(counts, left_out, tuple(differences))


async def _tables(conn: Connection, schema: str) -> tuple[dict[str, _Table], tuple[str, ...]]:
    rows = await conn.fetch(
        "SELECT c.relname AS table, a.attname AS column, pg_get_expr(d.adbin, d.adrelid) AS otherwise FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
        "LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum "
        "WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum",
        schema,
    )
    columns: dict[str, list[str]] = {}
    left_out = []
    for row in rows:
        if row["table"] == "projection_positions" and row["column"] in ORIGIN:
            # about the log, not of it: a model from before these columns holds nothing in them
            continue
        named = columns.setdefault(row["table"], [])
        if _is_the_clock(row["otherwise"]):
            left_out.append(f"{row['table']}.{row['column']}")
        else:
            named.append(row["column"])
    return {name: _Table(name, tuple(found)) for name, found in columns.items()}, tuple(left_out)


def _is_the_clock(default: str | None) -> bool:
    return default is not None and any(word in default.lower() for word in ("now()", "current_timestamp", "clock_timestamp"))


def _text_of(table: _Table) -> str:
    # text, because json has no equality of its own
    return f"ROW({', '.join(quoted(column) for column in table.columns)})::text"


async def _buckets(conn: Connection, schema: str, table: _Table) -> dict[int, tuple[Any, ...]]:
    """bucket -> (rows, two independent 64-bit hashes of them summed): order does not matter, a row twice does."""
    rows = await conn.fetch(
        f"SELECT a & {BUCKETS - 1} AS bucket, count(*) AS rows, sum(a)::text AS first, sum(b)::text AS second FROM "
        f"(SELECT hashtextextended(t, 0) AS a, hashtextextended(t, 1) AS b FROM "
        f"(SELECT {_text_of(table)} AS t FROM {quoted(schema)}.{quoted(table.name)} OFFSET 0) AS texts OFFSET 0) AS hashes GROUP BY 1",
        timeout=None,
    )
    return {int(row["bucket"]): (row["rows"], row["first"], row["second"]) for row in rows}


async def _rows(conn: Connection, schema: str, table: _Table, buckets: Sequence[int]) -> Counter[str]:
    rows = await conn.fetch(
        f"SELECT t FROM (SELECT {_text_of(table)} AS t FROM {quoted(schema)}.{quoted(table.name)} OFFSET 0) AS texts "
        f"WHERE hashtextextended(t, 0) & {BUCKETS - 1} = ANY($1::bigint[])",
        list(buckets),
        timeout=None,
    )
    return Counter(row["t"] for row in rows)
