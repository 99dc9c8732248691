"""`barecount`: the stack's own verbs, and with them every verb of the public API (barecount_cli)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Annotated, Literal, ParamSpec, TypeVar

import typer

from . import output
from .errors import AlreadyRunning, StackError
from .settings import StackSettings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Pipeline APIs on Apache Kafka: the embedded stack and its commands.")
P = ParamSpec("P")
R = TypeVar("R")
Output = Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="table for people, json for programs")]


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """A StackError is for the user: its words on stderr and exit status 1, no traceback."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except StackError as error:
            output.errors.print(f"[red]error:[/red] {type(error).__name__}", highlight=False)
            output.errors.print(str(error), markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error

    return wrapped


@app.command()
@explained
def up(
    demo: Annotated[bool, typer.Option(help="Tell the story on the sample when the stack is ready")] = True,
    output_: Output = "table",
) -> None:
    """Start Kafka, PostgreSQL, the edge and every service; a running stack is left alone and shown."""
    from .status import status
    from .supervisor import launch, shut_down

    settings, quiet = StackSettings.of(), output_ == "json"
    try:
        seconds = output.follow(launch(settings), quiet)
    except AlreadyRunning as running:
        found = status(settings)
        if quiet:
            return output.as_json(found)
        output.console.print(f"{running}: nothing to do", highlight=False, soft_wrap=True)
        return output.show(found)
    except KeyboardInterrupt:
        output.errors.print("stopping what was started …")
        shut_down(settings)
        raise typer.Exit(130) from None
    if quiet:
        output.as_json(status(settings) | {"seconds": round(seconds, 2)})
    else:
        output.show(status(settings))
        output.console.print(f"[green]ready in {seconds:.1f} s[/green]: {settings.url}", highlight=False)
    if demo and not quiet:
        _tell()
    return None


@app.command()
@explained
def down(output_: Output = "table") -> None:
    """Stop everything and wait until it is gone; the data stays."""
    from .supervisor import shut_down

    settings = StackSettings.of()
    ended = shut_down(settings)
    if output_ == "json":
        return output.as_json({"data_dir": str(settings.data_dir), "ended": ended})
    words = f"stopped {', '.join(ended)}" if ended else f"nothing runs in {settings.data_dir}"
    return output.console.print(words, highlight=False, soft_wrap=True)


@app.command()
@explained
def demo() -> None:
    """Tell the story on the sample, over the API of the running stack."""
    _tell()


@app.command("status")
@explained
def status_(output_: Output = "table") -> None:
    """Every process with its address, health, lag, memory, log file and last error. Exit status 3 unless all are ready."""
    from .status import status

    found = status(StackSettings.of())
    output.as_json(found) if output_ == "json" else output.show(found)
    if found["state"] != "ready" or any(row["health"] != "ready" for row in found["processes"]):
        raise typer.Exit(3)


@app.command()
@explained
def clean(yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False) -> None:
    """Stop the stack and delete its data folder: every log, table and key."""
    from .supervisor import shut_down

    settings = StackSettings.of()
    if not settings.data_dir.exists():
        return output.console.print(f"{settings.data_dir} does not exist", highlight=False, soft_wrap=True)
    # a wrong BARECOUNT_DATA_DIR must not cost somebody's home
    if any(settings.data_dir.iterdir()) and not (settings.record.exists() or settings.lock.exists() or settings.logs.exists()):
        raise StackError(f"{settings.data_dir} holds no stack: nothing was deleted")
    if not yes:
        typer.confirm(f"Delete {settings.data_dir} with everything in it?", abort=True)
    shut_down(settings)
    shutil.rmtree(settings.data_dir)
    return output.console.print(f"deleted {settings.data_dir}", highlight=False, soft_wrap=True)


@app.command()
@explained
def rebuild(
    service: Annotated[str | None, typer.Argument(help="The service whose read model is built anew")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every service with a read model, one after the other")] = False,
    rollback: Annotated[bool, typer.Option(help="Put the model from before the last swap back; again undoes it")] = False,
    prepare: Annotated[bool, typer.Option(help="Build the model of new views before the service runs them")] = False,
    accept_differences: Annotated[bool, typer.Option(help="Swap although rows differ: the live ones are known to be wrong")] = False,
    accept_loss: Annotated[bool, typer.Option(help="The log was restored from an older copy: give up what came after it")] = False,
    output_: Output = "table",
) -> None:
    """Build a service's read model anew from the log while everything runs, compare it row by row, and swap it in."""
    from .rebuild import rebuild as run

    if (service is None) == (not every):
        raise StackError("name one service, or say --all")
    chosen = {"--rollback": rollback, "--prepare": prepare, "--accept-differences": accept_differences}
    chosen["--accept-loss"] = accept_loss
    options = [name for name, said in chosen.items() if said]
    if len(options) > 1:
        raise StackError(f"{' and '.join(options)} exclude each other")
    ended = run(StackSettings.of(), [] if service is None else [service], options, quiet=output_ == "json")
    if output_ == "json":
        output.as_json(ended)


@app.command()
@explained
def deliver(
    day: Annotated[str, typer.Argument(help="A day of 2025, as 2025-10-05")],
    damaged: Annotated[bool, typer.Option(help="Truncated and with malformed rows, as the story's first delivery")] = False,
    tenant: Annotated[str, typer.Option()] = "acme",
) -> None:
    """Deliver the sample retailer's transactions of a day into the landing folder, as the retailer would."""
    from datetime import date

    from . import sample

    try:
        landed = sample.deliver(StackSettings.of().data_dir / "lake", tenant, date.fromisoformat(day), damaged=damaged)
    except (ValueError, sample.NoSuchDay) as error:
        raise StackError(f"{error}. The sample has the days of 2025, as 2025-10-05.") from error
    words = (
        f"landed {landed.data}: {landed.data.stat().st_size:,} bytes; its control total is {landed.records:,} records, {landed.sales_value}"
    )
    output.console.print(words, highlight=False, soft_wrap=True)


def _tell() -> None:
    """The story; what breaks it is for the user: its words on stderr and its exit status, no traceback."""
    from barecount_cli.errors import CliError
    from barecount_cli.output import problem

    from .demo import tell

    try:
        tell()
    except CliError as error:
        problem(error)
        raise typer.Exit(error.exit_code) from error


def mount_cli() -> None:
    """Adds the verbs of barecount_cli beside the stack's; ours win where a name is in both."""
    try:
        verbs = import_module("barecount_cli.app").app
    except ImportError as missing:
        if not (missing.name or "").startswith("barecount_cli"):
            raise
        return
    ours = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    app.registered_commands += [command for command in verbs.registered_commands if command.name not in ours]
    app.registered_groups += verbs.registered_groups


def main() -> None:
    """The console script. The API's verbs are loaded when one of them, or the list of all, is asked for: they take half a second."""
    ours = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    if not ours.intersection(sys.argv[1:2]):
        mount_cli()
    app()
