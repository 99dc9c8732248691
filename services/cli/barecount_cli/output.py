"""How answers look in a terminal: tables for people, JSON for programs (`--output json`), data on stdout and the rest on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from .errors import CliError

console = Console()
errors = Console(stderr=True)

STATUS_STYLE = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "refused": "red", "cancelling": "yellow"}


def as_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    drawn = Table(title=title, title_justify="left", header_style="bold", expand=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    console.print(drawn)


def problem(error: CliError) -> None:
    errors.print(f"[red]✗[/red] {error.message}", highlight=False)
    if error.remedy:
        errors.print(f"  {error.remedy}", style="dim", highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    text = str(value)
    style = STATUS_STYLE.get(text)
    return f"[{style}]{text}[/{style}]" if style else text
