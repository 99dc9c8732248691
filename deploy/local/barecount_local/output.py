"""How the stack's verbs look at a terminal."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from .settings import NEEDED_BYTES

# what is piped on keeps its lines whole; a terminal has its own width
console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)
errors = Console(stderr=True)


def as_json(found: Any) -> None:
    print(json.dumps(found, indent=2))


def follow(steps: Iterable[dict[str, Any]], quiet: bool) -> float:
    """Shows the steps of a start as they come, each with its seconds. Returns the seconds of all. quiet: says nothing."""
    began = time.monotonic()
    if quiet:
        for _ in steps:
            pass
        return time.monotonic() - began
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True) as progress:
        task = progress.add_task("starting")
        for said in steps:
            if said["state"] == "started":
                progress.update(task, description=said["step"])
            elif said["state"] == "done":
                progress.console.print(f"[green]✓[/green] {said['step']:<36}{said['seconds']:>6.2f} s", highlight=False)
    return time.monotonic() - began


def show(found: dict[str, Any]) -> None:
    """The table of `status`, and below it what went wrong lately."""
    table = Table(title=f"barecount: {found['state']} at {found['url']}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column, justify in (
        ("process", "left"),
        ("pid", "right"),
        ("address", "left"),
        ("health", "left"),
        ("lag", "right"),
        ("rejected", "right"),
        ("parked", "right"),
        ("memory", "right"),
        ("restarts", "right"),
        ("log", "left"),
    ):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in found["processes"]:
        colour = {"ready": "green", "starting": "yellow"}.get(row["health"], "red")
        memory = f"{row['pss_bytes'] / 2**20:.0f} MiB" if row["pss_bytes"] else ""
        rejected = sum(row["rejected"].values()) if row["rejected"] is not None else None
        parked = sum(sum(codes.values()) for codes in row["parked"].values()) if row["parked"] is not None else None
        health = f"[{colour}]{row['health']}[/{colour}]"
        cells = (
            row["pid"],
            row["address"].removeprefix("http://"),
            health,
            row["lag"],
            rejected,
            parked,
            memory,
            row["restarts"],
            Path(row["log"]).name,
        )
        table.add_row(row["name"], *("" if cell is None else str(cell) for cell in cells))
    console.print(table)
    for row in found["processes"]:
        if row["last_error"]:
            console.print(f"[yellow]{row['last_error']}[/yellow]", highlight=False)
            for line in row["last_lines"] or []:
                console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
    if found["free_bytes"] is not None and found["free_bytes"] < NEEDED_BYTES:
        left = f"{found['free_bytes'] / 2**20:.0f} MiB"
        words = f"only {left} are left on the disk of {found['data_dir']}: make room. Kafka and PostgreSQL stop without it; nothing is lost"
        console.print(f"[red]{words}[/red]", highlight=False, soft_wrap=True)
    console.print(
        f"memory {found['pss_bytes'] / 2**20:.0f} MiB (PSS) · data and logs in {found['data_dir']}", highlight=False, soft_wrap=True
    )
