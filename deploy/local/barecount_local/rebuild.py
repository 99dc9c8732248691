"""`barecount rebuild`: each service's rebuild as a process of its own in that service's environment, and what it tells shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from . import output, record
from .errors import StackError
from .passwords import Passwords
from .services import SERVICES, ServiceProcess, environment
from .settings import StackSettings


class RebuildFailed(StackError):
    """A service's rebuild ended without a swap; its words are the message."""


def rebuildable() -> dict[str, ServiceProcess]:
    """The services that keep a read model, by name."""
    return {service.principal: service for service in SERVICES if service.has_database}


def rebuild(settings: StackSettings, services: Sequence[str], options: Sequence[str], *, quiet: bool) -> list[dict[str, Any]]:
    """Rebuilds one service after the other. Returns the last report of each; quiet: shows no progress.

    Raises: StackError when the stack does not run or there is no such service, RebuildFailed with what the service's rebuild said.
    """
    known, found = rebuildable(), record.read(settings.record)
    unknown = [name for name in services if name not in known]
    if unknown:
        raise StackError(f"{', '.join(unknown)} keeps no read model. The services that do: {', '.join(known)}")
    if not found or not record.supervisor_lives(found):
        raise StackError(f"no stack runs in {settings.data_dir}: a rebuild reads its Kafka and its PostgreSQL. Start it with: barecount up")
    passwords = Passwords.of(settings.data_dir)
    ended = []
    with Progress(
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.fields[service]:<10}"),
        BarColumn(bar_width=30),
        TextColumn("{task.description}"),
        console=output.console,
        disable=quiet,
    ) as progress:
        for name in services or known:
            task = progress.add_task("starting", total=None, service=name)
            last: dict[str, Any] = {}
            told = environment(known[name], settings, found["ports"], passwords)
            for last in _reports(name, told, options, settings.logs / f"{name}.rebuild.log"):
                progress.update(task, description=told_in_words(last), total=last.get("total"), completed=last.get("events", 0))
            if last.get("step") == "failed":
                raise RebuildFailed(f"{name}: {last['detail']}")
            progress.update(task, total=1, completed=1)
            ended.append(last)
    return ended


def told_in_words(said: dict[str, Any]) -> str:
    match said["step"]:
        case "projecting":
            return f"{said['events']:,} of {said['total']:,} events, {said['rate']:,} events/s, {said['eta']:g} s left"
        case "comparing":
            return f"{said['events']:,} events projected; comparing with the live rows"
        case "swapping":
            return "swapping"
        case "rolled-back":
            return f"rolled back to the model from before, brought up to date by {said['events']:,} events"
        case "done":
            rows = sum(said.get("tables", {}).values())
            different = f", {len(said['differences'])} tables differed" if said.get("differences") else ", equal"
            if said.get("lost"):
                return f"{said['events']:,} events in {said['seconds']:g} s; made of the log as it is, what came after it is given up"
            compared = f"; {rows:,} rows compared{different}, swapped" if "tables" in said else ""
            return f"{said['events']:,} events in {said['seconds']:g} s, {said['rate']:,} events/s{compared}"
        case step:
            return str(step)


def _reports(name: str, told: dict[str, str], options: Sequence[str], log: Path) -> Iterator[dict[str, Any]]:
    """What the process says, line by line. An interrupt ends the process with ours: the live model does not depend on it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", f"barecount_{name}.rebuild", *options],
            env={**os.environ, **told},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        said: dict[str, Any] = {}
        try:
            for line in process.stdout:
                said = json.loads(line)
                yield said
        finally:
            process.terminate()
            code = process.wait()
    if said.get("step") not in ("done", "rolled-back", "failed"):
        yield {"service": name, "step": "failed", "detail": f"the process ended with status {code} before it was done; see {log}"}
