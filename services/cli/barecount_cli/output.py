"""How answers look in a terminal: tables for people, JSON for programs (`--output json`), data on stdout and the rest on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .errors import CliError

# what is piped on keeps its lines whole; a terminal has its own width
WIDE = 220
console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE)
errors = Console(stderr=True, soft_wrap=True)

STATUS_STYLE = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "refused": "red", "cancelling": "yellow"}


def as_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    drawn = Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(columns))
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    console.print(drawn)


LEVEL_STYLE = {"debug": "dim", "info": "default", "warning": "yellow", "error": "red"}


def log_line(line: dict[str, Any]) -> None:
    """One log line of a run: time, stage, level, event and error type first, then the fields."""
    fields = " ".join(f"{name}={value}" for name, value in (line.get("fields") or {}).items())
    what = " ".join(part for part in (line["event"], line.get("error_type")) if part)
    style = LEVEL_STYLE.get(line["level"], "default")
    shown = f"{str(line.get('time', ''))[11:23]} {line['stage']:<10} [{style}]{line['level']:<7} {escape(what)}[/{style}] {escape(fields)}"
    console.print(shown, highlight=False, soft_wrap=True)


def problem(error: CliError) -> None:
    errors.print(f"[red]✗[/red] {escape(error.message)}", highlight=False)
    if error.remedy:
        errors.print(f"  {escape(error.remedy)}", style="dim", highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    text = str(value)
    style = STATUS_STYLE.get(text)
    return f"[{style}]{text}[/{style}]" if style else text
