"""DuckDB in a cage: people's SQL sees the staged inputs and nothing else.

The order of the settings matters (allowed folders, then no external access, then locked). What was tried and refused then: files by
absolute path, by `..` and by glob; COPY, ATTACH and EXPORT outside; INSTALL, LOAD, http, secrets; changing a setting back; Python
variables as tables. tests/integration/worker proves it against the DuckDB that is installed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from barecount_worker.domain.failure import ErrorType, StageFailed
from barecount_worker.domain.stop import Stop

_PARQUET = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880, PARQUET_VERSION v1"


class Cage:
    """A locked DuckDB: reads `inputs`, writes into `output`. Close it, or use `open_cage`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, stop: Stop, parameters: Mapping[str, str]) -> None:
        self._connection = connection
        self._stop = stop
        self._parameters = dict(parameters)

    def view(self, name: str, file: Path) -> None:
        """A staged Parquet file under a dataset's name."""
        self._run(f"CREATE VIEW {quoted(name)} AS SELECT * FROM read_parquet({literal(str(file))})")

    def columns(self, query: str) -> dict[str, str]:
        """Names and DuckDB types of what a query gives."""
        return {row[0]: row[1] for row in self._run(f"DESCRIBE {query}", query).fetchall()}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._run(query, query).fetchall()

    def number(self, query: str) -> Any:
        """The single value that a query gives. StageFailed when it gives another shape."""
        found = self.rows(query)
        if len(found) != 1 or len(found[0]) != 1:
            raise StageFailed(ErrorType.SQL_FAILED, f"must give one number, gave {len(found)} rows: {query}")
        return found[0][0]

    def copy(self, query: str, file: Path) -> int:
        """Write what a query gives as Parquet, ordered by all columns and with fixed options: same rows, same bytes. Gives the rows."""
        ordered = f"SELECT * FROM ({query}\n) AS result ORDER BY ALL"
        written = self._run(f"COPY ({ordered}) TO {literal(str(file))} ({_PARQUET})", query).fetchone()
        return int(written[0]) if written else 0

    def _run(self, statement: str, shown: str | None = None) -> duckdb.DuckDBPyConnection:
        uses = {name: value for name, value in self._parameters.items() if f"${name}" in statement}
        ended = threading.Event()
        try:
            with self._stop.calling(lambda: threading.Thread(target=self._interrupt, args=(ended,), daemon=True).start()):
                if self._stop():
                    raise StageFailed(ErrorType.INTERRUPTED, self._stop.reason)
                return self._connection.execute(statement, uses or None)
        except duckdb.InterruptException as error:
            raise StageFailed(ErrorType.INTERRUPTED, self._stop.reason or str(error)) from error
        except duckdb.OutOfMemoryException as error:
            raise StageFailed(
                ErrorType.RESOURCES_EXCEEDED, f"{_first(error)}: give the worker more memory, or aggregate earlier"
            ) from error
        except duckdb.IOException as error:
            raise StageFailed(ErrorType.IO_ERROR, _first(error)) from error
        except duckdb.Error as error:
            raise StageFailed(ErrorType.SQL_FAILED, f"{_first(error)} in: {(shown or statement).strip()[:500]}") from error
        finally:
            ended.set()

    def _interrupt(self, ended: threading.Event) -> None:
        """DuckDB forgets an interrupt that comes before its statement began: repeat it until the statement has ended."""
        while not ended.is_set():
            self._connection.interrupt()
            ended.wait(0.02)


@contextmanager
def open_cage(
    inputs: Sequence[Path], output: Path, stop: Stop, parameters: Mapping[str, str] | None = None, memory: str = "1GB", disk: str = "10GB"
) -> Iterator[Cage]:
    """A cage over the folders of `inputs` and the folder `output`; `memory` and `disk` are DuckDB's limits.

    One thread: with an explicit order that makes results repeatable, and a slot takes one core.
    """
    config: dict[str, Any] = {
        "threads": 1,
        "memory_limit": memory,
        "temp_directory": str(output / ".spill"),
        "max_temp_directory_size": disk,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    folders = sorted({str(path.parent) for path in inputs} | {str(output)})
    with duckdb.connect(":memory:", config=config) as connection:
        connection.execute(f"SET allowed_directories=[{', '.join(literal(folder) for folder in folders)}]")
        connection.execute("SET enable_external_access=false")
        connection.execute("SET lock_configuration=true")
        yield Cage(connection, stop, parameters or {})


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
