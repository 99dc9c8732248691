"""`make bench [ONLY=name]`: each figure beside a raw ceiling measured in the same run; a table, and build/bench.json.

A benchmark is an async function `bench_<name>(servers) -> list[Figure]` of a module in this folder. A figure's goal is a bound on its
ratio to the ceiling (`ratio >= 0.3`) or on its value (`value <= 15`); `holds` says whether it was met here.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from barecount_chassis import settle_collector
from rich.console import Console
from rich.table import Table

from tests.bench.figure import Figure

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "build" / "bench.json"
Bench = Callable[[], Awaitable[list[Figure]]]


def benches() -> Iterator[tuple[str, Bench]]:
    for file in sorted(HERE.glob("bench_*.py")):
        module = importlib.import_module(f"tests.bench.{file.stem}")
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
            if name.startswith("bench_") and function.__module__ == module.__name__:
                yield name.removeprefix("bench_"), function


def main() -> int:
    only = os.environ.get("ONLY") or None
    console, figures, failed = Console(), list[Figure](), list[str]()
    for name, bench in benches():
        if only and only not in name:
            continue
        console.print(f"[dim]{name} …[/dim]")
        # as every process of the product does; the ceilings are measured under it too
        settle_collector()
        try:
            figures.extend(asyncio.run(bench()))  # type: ignore[arg-type]
        except Exception as error:  # one that breaks must not hide the others' figures; it is named and makes the run fail
            failed.append(f"{name}: {type(error).__name__}: {error}")
            console.print_exception()
    shown = Table(title="Figures")
    for column in ("name", "value", "unit", "ceiling", "ratio", "goal", "holds"):
        shown.add_column(column, justify="right" if column in ("value", "ceiling", "ratio") else "left")
    for figure in figures:
        shown.add_row(*figure.cells())
    console.print(shown)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([figure.row() for figure in figures], indent=2) + "\n")
    for line in failed:
        sys.stderr.write(f"failed: {line}\n")
    return 1 if failed or (only and not figures) else 0


if __name__ == "__main__":
    raise SystemExit(main())
