"""SQL that a manifest may hold."""

from __future__ import annotations

import duckdb
import pytest
from barecount_manifest import check_sql, tables_of
from barecount_manifest.sql import UNREPEATABLE


def messages(sql: str, *datasets: str) -> str:
    return " | ".join(problem.message for problem in check_sql(sql, "/sql", datasets or ("t",)))


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("SELEC 1", "not SQL|one SELECT"),
        ("", "one SELECT"),
        ("SELECT 1; SELECT 2", "one SELECT"),
        ("DROP TABLE t", "one SELECT"),
        ("COPY (SELECT 1) TO '/tmp/x'", "one SELECT"),
        ("ATTACH '/tmp/x'", "one SELECT"),
        ("PRAGMA version", "one SELECT"),
        ("SET threads = 4", "one SELECT"),
        ("SELECT * FROM other", "'other'"),
        ("SELECT * FROM 'landing.csv'", "not a declared dataset"),
        ("SELECT * FROM read_csv('x.csv')", "not a declared dataset"),
        ("SELECT * FROM read_parquet('x')", "not a declared dataset"),
        ("SELECT * FROM query('SELECT 1')", "not a declared dataset"),
        ("SELECT * FROM main.t", "not a declared dataset"),
        ("SELECT (SELECT max(a) FROM secret) FROM t", "'secret'"),
        ("WITH x AS (SELECT * FROM secret) SELECT * FROM x", "'secret'"),
        ("WITH t AS (SELECT * FROM t2) SELECT * FROM t", "'t2'"),
        ("SELECT * INTO x FROM t", "INTO"),
        ("SELECT * FROM t USING SAMPLE 3", "sample"),
        ("SELECT * FROM t TABLESAMPLE 10%", "sample"),
        ("SELECT $other FROM t", "parameter"),
        ("SELECT ? FROM t", "parameter"),
        ("SELECT a FROM t ORDER BY random()", "RANDOM"),
        ("SELECT a FROM t WHERE b < NOW()", "NOW"),
        ("SELECT current_date FROM t", "CURRENT_DATE"),
        ("SELECT age(a) FROM t", "age"),
    ],
)
def test_a_query_that_is_not_one_repeatable_select_is_refused(sql: str, word: str) -> None:
    found = messages(sql)
    assert any(part.lower() in found.lower() for part in word.split("|")), found


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM t",
        "FROM t SELECT a",
        "SELECT CAST($partition AS DATE) AS day, sum(a) AS a FROM t GROUP BY GROUPING SETS ((b), ())",
        "WITH x AS (SELECT * FROM t), y AS (SELECT * FROM x) SELECT * FROM y JOIN x USING (a)",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n, t",
        "SELECT a FROM t UNION ALL SELECT a FROM t",
        "SELECT a, row_number() OVER (PARTITION BY b ORDER BY c) FROM t QUALIFY true",
    ],
)
def test_an_honest_query_is_taken(sql: str) -> None:
    assert messages(sql) == ""


def test_every_function_that_duckdb_calls_unstable_is_refused() -> None:
    """When DuckDB brings a new one: add it to UNREPEATABLE in libs/manifest/barecount_manifest/sql.py."""
    rows = duckdb.connect().execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT' AND function_type = 'scalar'"
    )
    names = {row[0] for row in rows.fetchall()}
    assert names - UNREPEATABLE == set()
    assert [name for name in sorted(names) if not messages(f"SELECT {name}() FROM t")] == []


def test_the_tables_of_a_query_leave_its_own_names_out() -> None:
    assert tables_of("WITH x AS (SELECT * FROM A) SELECT * FROM x JOIN b USING (i)") == {"a", "b"}
