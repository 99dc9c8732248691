"""What SQL a manifest may hold: one SELECT over declared datasets that gives the same rows for the same input.

This is judged on the parsed query (sqlglot, DuckDB's dialect). It is the first fence, for clear messages; the cage in which the
worker runs the query (no files, no network, no settings) is the second and does not rely on this one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from .errors import Problem

DIALECT = "duckdb"
PARAMETERS: frozenset[str] = frozenset({"partition"})
# queries whose verdict is remembered, and characters of the longest one: at most 4 MB
KEPT, LONGEST_KEPT = 512, 8_192

# DuckDB 2.0's own list (duckdb_functions(), stability other than CONSISTENT), its macros over them, and other databases' names.
# A unit test compares this list with the DuckDB that is installed.
UNREPEATABLE: frozenset[str] = frozenset(
    """
    ago clock_timestamp current_catalog current_connection_id current_database current_date current_datetime current_localtime
    current_localtimestamp current_query current_query_id current_role current_schema current_schemas current_setting current_time
    current_timestamp current_transaction_id current_user currval error gen_random_uuid get_current_time get_current_timestamp
    getdate getenv getvariable in_search_path inet_client_addr inet_client_port inet_server_addr inet_server_port localtime
    localtimestamp nextval now pg_conf_load_time pg_postmaster_start_time pg_sleep rand randn random session_user setseed setval
    sleep_ms statement_timestamp stats sysdate timeofday today transaction_timestamp txid_current user uuid uuidv4 uuidv7
    vector_type version write_log generate_uuid current_version
    """.split()  # noqa: SIM905 - a list of sixty names reads better as words
)
_TYPED: tuple[type[exp.Expr], ...] = tuple(
    kind
    for name in (
        "CurrentCatalog", "CurrentDate", "CurrentDatetime", "CurrentRole", "CurrentSchema", "CurrentSchemas", "CurrentTime",
        "CurrentDatabase", "CurrentTimestamp", "CurrentTimestampLTZ", "CurrentUser", "CurrentVersion", "Localtime", "Localtimestamp",
        "Rand", "Randn", "SessionUser", "Systimestamp", "Uuid", "UtcDate", "UtcTime", "UtcTimestamp",
    )
    if (kind := getattr(exp, name, None)) is not None
)  # fmt: skip


def check_sql(sql: str, path: str, datasets: Collection[str]) -> tuple[Problem, ...]:
    """Everything wrong with one query; empty when it may run over `datasets`. `path` is where it stands in the manifest."""
    # a new version of a manifest mostly brings the queries of the last one: parsing them is most of what judging it costs
    judged = _checked if len(sql) <= LONGEST_KEPT else _checked.__wrapped__
    return judged(sql, path, tuple(sorted(datasets)))


@lru_cache(maxsize=KEPT)
def _checked(sql: str, path: str, datasets: tuple[str, ...]) -> tuple[Problem, ...]:
    try:
        statements = [statement for statement in sqlglot.parse(sql, read=DIALECT) if statement is not None]
    except (SqlglotError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return (Problem(path, f"is not SQL that DuckDB's dialect knows: {first}", "write one SELECT in DuckDB's dialect"),)
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        found = ", ".join(type(statement).__name__.upper() for statement in statements) or "nothing"
        return (Problem(path, f"must be one SELECT, found: {found}", "write a single SELECT; WITH and UNION are part of one"),)
    return tuple(sorted(set(_problems(statements[0], path, datasets))))


def tables_of(sql: str) -> frozenset[str]:
    """The datasets that a query names (its own WITH names left out), in lower case. Raises SqlglotError when it does not parse."""
    return frozenset(name for table in _tables(sqlglot.parse_one(sql, read=DIALECT)) if (name := _named(table)) is not None)


def _problems(query: exp.Expr, path: str, datasets: Collection[str]) -> Iterator[Problem]:
    known = ", ".join(sorted(datasets)) or "none"
    for table in _tables(query):
        name = _named(table)
        if name is None:
            yield Problem(path, f"reads from {table.sql(DIALECT)}, which is not a declared dataset", f"datasets here: {known}")
        elif name not in datasets:
            yield Problem(path, f"reads '{name}', which is not among its declared inputs", f"declared: {known}; add it to inputs")
    for node in query.walk():
        if isinstance(node, exp.Func | exp.Column) and (name := _unrepeatable(node)):
            yield Problem(path, f"uses {name}, which differs from call to call", "take the value from the data, or use $partition")
        elif isinstance(node, exp.TableSample):
            yield Problem(path, "takes a sample, which differs from call to call", "filter by a hash of a key instead")
        elif isinstance(node, exp.Into):
            yield Problem(path, "writes with SELECT INTO", "only the stage's output is written; drop INTO")
        elif isinstance(node, exp.Placeholder | exp.Parameter) and (node.name or "?") not in PARAMETERS:
            yield Problem(path, f"has the parameter '{node.name or '?'}'", "the only parameter is $partition")


def _tables(query: exp.Expr) -> Iterator[exp.Table]:
    """Tables that are not names of a WITH that is visible where they stand."""
    for table in query.find_all(exp.Table):
        if not (isinstance(table.this, exp.Identifier) and not table.db and _is_cte(table)):
            yield table


def _is_cte(table: exp.Table) -> bool:
    node: exp.Expr | None = table
    while node is not None:
        with_ = node.args.get("with_") if isinstance(node, exp.Query) else None
        if with_ is not None and _visible(with_, table):
            return True
        node = node.parent
    return False


def _visible(with_: exp.With, table: exp.Table) -> bool:
    """A WITH name is visible in the query and in later names; in its own body only when recursive."""
    wanted = table.name.lower()
    for cte in with_.expressions:
        inside = any(parent is cte for parent in _ancestors(table))
        if cte.alias.lower() == wanted:
            return not inside or bool(with_.args.get("recursive"))
        if inside:
            return False
    return False


def _ancestors(node: exp.Expr) -> Iterator[exp.Expr]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def _named(table: exp.Table) -> str | None:
    """The dataset that a table names; None for functions, files ('a.csv'), and names with a schema or catalogue."""
    if not isinstance(table.this, exp.Identifier) or table.db or table.catalog:
        return None
    return table.name.lower() if table.name.isidentifier() else None


def _unrepeatable(node: exp.Expr) -> str | None:
    if isinstance(node, _TYPED):
        return node.sql(DIALECT)
    if isinstance(node, exp.Anonymous) and node.name.lower() in UNREPEATABLE:
        return f"{node.name}()"
    if isinstance(node, exp.Anonymous) and node.name.lower() == "age" and len(node.expressions) == 1:
        return "age() against today"
    # keywords of DuckDB that this parser takes for columns
    if isinstance(node, exp.Column) and not node.table and not node.this.args.get("quoted") and node.name.lower() in _KEYWORDS:
        return node.name
    return None


_KEYWORDS = frozenset({"current_role", "current_catalog", "current_schema", "localtime", "localtimestamp", "current_localtime"})
