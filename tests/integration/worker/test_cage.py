"""The cage, against the DuckDB that is installed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from barecount_worker.adapters import cage as cage_module
from barecount_worker.adapters.cage import Cage, open_cage
from barecount_worker.domain.failure import ErrorType, StageFailed
from barecount_worker.domain.stop import Stop


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "secret.csv"
    file.parent.mkdir()
    file.write_text("a\n42\n")
    return file


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    file = tmp_path / "in" / "t.parquet"
    file.parent.mkdir()
    duckdb.connect().execute(f"COPY (SELECT range AS a, CAST(1.5 AS DECIMAL(12,2)) AS m FROM range(10)) TO '{file}'")
    return file


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


ESCAPES = [
    "SELECT * FROM '{secret}'",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_text('{inside}/../elsewhere/secret.csv')",
    "SELECT * FROM glob('{secret.parent}/*')",
    "SELECT * FROM read_text('{secret.parent}/*')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "COPY (SELECT 1) TO '{secret}'",
    "COPY (SELECT 1) TO '{secret.parent}/new.csv'",
    "EXPORT DATABASE '{secret.parent}/dump'",
    "ATTACH '{secret.parent}/x.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')",
    "CREATE SECRET s (TYPE s3)",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET lock_configuration = false",
    "RESET enable_external_access",
    "SET threads = 8",
    "SELECT getenv('HOME')",
]


@pytest.mark.parametrize("escape", ESCAPES)
def test_nothing_leads_out_of_the_cage(escape: str, secret: Path, staged: Path, output: Path) -> None:
    before = sorted(secret.parent.iterdir()), secret.read_text()
    with open_cage([staged], output, Stop()) as cage, pytest.raises(StageFailed):
        cage.rows(escape.format(secret=secret, inside=staged.parent))
    assert (sorted(secret.parent.iterdir()), secret.read_text()) == before


def test_python_variables_are_not_tables(staged: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB looks for them where its execute was called from: in the cage's own module."""
    monkeypatch.setattr(cage_module, "smuggled", pa.table({"a": [42]}), raising=False)
    with open_cage([staged], output, Stop()) as cage, pytest.raises(StageFailed, match="smuggled"):
        cage.rows("SELECT * FROM smuggled")


def test_a_running_query_ends_when_it_is_asked_to(staged: Path, output: Path) -> None:
    stop = Stop()
    began = threading.Event()

    def ask() -> None:
        began.wait(10)
        stop.set("somebody cancelled the run")

    thread = threading.Thread(target=ask)
    thread.start()
    with open_cage([staged], output, stop) as cage:
        began.set()
        started = time.monotonic()
        with pytest.raises(StageFailed, match="somebody cancelled the run") as failed:
            cage.number("SELECT max(hash(a.range, b.range)) FROM range(1000000) a, range(1000000) b")
    thread.join()
    assert failed.value.error_type is ErrorType.INTERRUPTED
    assert failed.value.retriable
    assert time.monotonic() - started < 10


def test_a_stop_in_the_moment_before_a_query_begins_is_not_lost(staged: Path, output: Path) -> None:
    stop = Stop()

    class SlowToBegin:
        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self.interrupt = connection.interrupt
            self.connection = connection

        def execute(self, *statement: object) -> object:
            stop.set("just now")
            return self.connection.execute(*statement)  # type: ignore[arg-type]

    with duckdb.connect() as connection, pytest.raises(StageFailed, match="just now"):
        Cage(SlowToBegin(connection), stop, {}).number(  # type: ignore[arg-type]
            "SELECT max(hash(a.range, b.range)) FROM range(1000000) a, range(1000000) b"
        )


def test_a_stop_that_came_before_the_query_is_kept(staged: Path, output: Path) -> None:
    stop = Stop()
    stop.set("too late")
    with open_cage([staged], output, stop) as cage, pytest.raises(StageFailed, match="too late"):
        cage.number("SELECT 1")


def test_a_query_that_needs_more_memory_than_it_has_fails_for_good(staged: Path, output: Path) -> None:
    with open_cage([staged], output, Stop(), memory="20MB", disk="1MB") as cage, pytest.raises(StageFailed) as failed:
        cage.copy("SELECT list(hash(a.range)) AS h FROM range(20000000) a", output / "big.parquet")
    assert failed.value.error_type is ErrorType.RESOURCES_EXCEEDED
    assert not failed.value.retriable


def test_wrong_sql_is_named(staged: Path, output: Path) -> None:
    with open_cage([staged], output, Stop()) as cage, pytest.raises(StageFailed, match="nothere") as failed:
        cage.rows("SELECT nothere FROM range(3)")
    assert failed.value.error_type is ErrorType.SQL_FAILED


def test_the_same_rows_in_another_order_are_the_same_bytes(staged: Path, output: Path) -> None:
    def written(name: str, query: str) -> bytes:
        with open_cage([staged], output, Stop(), {"partition": "2025-10-04"}) as cage:
            cage.view("t", staged)
            assert cage.copy(query, output / name) == 10
        return (output / name).read_bytes()

    up = written("up.parquet", "SELECT $partition AS p, a, m FROM t ORDER BY a")
    down = written("down.parquet", "SELECT $partition AS p, a, m FROM t ORDER BY a DESC")
    assert up == down


def test_a_cage_leaves_no_spill_behind(staged: Path, output: Path) -> None:
    with open_cage([staged], output, Stop(), memory="64MB") as cage:
        cage: Cage
        cage.copy("SELECT a.range AS r, hash(a.range)::VARCHAR AS h FROM range(2000000) a", output / "big.parquet")
    assert os.listdir(output) == ["big.parquet"]
