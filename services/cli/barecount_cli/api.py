"""`barecount api`: any call of the public API with a token, for what has no verb of its own, and for scripts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from . import output
from .client import Client
from .errors import CliError
from .settings import CliSettings
from .writing import decided


def api(
    method: Annotated[str, typer.Argument(help="GET, POST, PUT or DELETE")],
    path: Annotated[str, typer.Argument(help="As in /openapi.json, with its query")],
    data: Annotated[Path | None, typer.Option("--data", "-d", help="A file with the body, JSON or YAML; - reads it from stdin")] = None,
    field: Annotated[
        str | None, typer.Option("--field", "-f", help="Print only this part of the answer, as event.data.run_id or items.0")
    ] = None,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait for a command's outcome; 0: an accepted command is enough")] = 15,
    role: Annotated[str | None, typer.Option("--role", help="Ask with this role (embedded issuer)")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Ask for this tenant (embedded issuer)")] = None,
) -> None:
    """Make one call of the API and print its answer. What is refused goes to stderr with exit code 5; a command that is accepted
    and not decided within the wait is printed, with exit code 124."""
    client = Client.of(CliSettings(), role=role, tenant=tenant)
    verb = method.upper()
    if verb == "GET":
        return show(client.get(path), field)
    answer = client.write(verb, path, body_of(data), wait=wait or None)
    late = wait > 0 and answer.get("status") == "accepted"
    try:
        show(answer, field)
    except CliError:
        # a part of an outcome that is not there yet is no mistake of who asks for it
        if not late:
            raise
    if late:
        decided(answer)
    return None


def show(answer: Any, field: str | None) -> None:
    """Prints the answer or a part of it. Raises: CliError when there is no such part."""
    shown = answer if field is None else part_of(answer, field)
    # a text goes into a shell's variable as it is
    return typer.echo(shown) if isinstance(shown, str) else output.as_json(shown)


def body_of(data: Path | None) -> Any:
    """The body from a file or stdin, or None. Raises: CliError."""
    if data is None:
        return None
    try:
        text = sys.stdin.read() if str(data) == "-" else data.read_text("utf-8")
        return yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{data} cannot be read: {error}", "Name a file, or - for stdin.") from error
    except yaml.YAMLError as error:
        raise CliError(f"{data} is neither JSON nor YAML: {error}", "Correct the place that it names.") from error


def part_of(answer: Any, path: str) -> Any:
    """The part at a dotted path; numbers index lists. Raises: CliError naming what there is instead."""
    found = answer
    for name in path.split("."):
        try:
            found = found[int(name)] if isinstance(found, list) else found[name]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            there = ", ".join(found) if isinstance(found, dict) else f"{len(found)} items" if isinstance(found, list) else json.dumps(found)
            raise CliError(
                f"the answer has no {path!r}: at {name!r} there is {there}", "Leave --field out to see the whole answer."
            ) from error
    return found
