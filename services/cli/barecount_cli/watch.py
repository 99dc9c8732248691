"""`barecount watch`: state changes as they happen, from the public stream. After a cut it goes on by itself behind the last id."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import httpx
import typer
from rich.markup import escape

from . import output
from .client import Client
from .errors import RUN_CANCELLED, RUN_FAILED, ProblemError
from .settings import CliSettings

# on a quiet stream something comes every 15 s; after three times that the connection is dead, whatever TCP thinks
SILENCE_SECONDS = 45.0
PAUSES = (0.5, 10.0)
EXIT_CODES = {"run.failed": RUN_FAILED, "run.refused": RUN_FAILED, "run.cancelled": RUN_CANCELLED}
STYLES = {"succeeded": "green", "failed": "red", "refused": "red", "rejected": "red", "detected": "yellow", "cancelled": "yellow"}
COME_BACK = frozenset({502, 503, 504})


@dataclass(frozen=True)
class Frame:
    """One block of a text/event-stream; a block without data only moves the position on."""

    id: str | None
    event: str
    data: str


def frames(lines: Iterable[str]) -> Iterator[Frame]:
    """Reads server-sent events (WHATWG HTML §9.2.6). A block that the end cuts off is not an event."""
    place: str | None = None
    event, data = "", list[str]()
    for line in lines:
        if not line:
            if place is not None or data:
                yield Frame(place, event or "message", "\n".join(data))
            place, event, data = None, "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                place = value
            case "event":
                event = value
            case "data":
                data.append(value)
            case _:
                pass  # comments, `retry`: nothing to be told


def follow(
    connect: Callable[[], Client], query: dict[str, str], *, pause: Callable[[float], None] = time.sleep
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(event, data) of the stream for ever, each change once: `gap` and `end` too, `open` and signs of life not.

    Every connection has a client of its own, so that an expired token is replaced. Raises: ProblemError for what coming back cannot mend.
    """
    last: str | None = None
    wait = PAUSES[0]
    while True:
        client = connect()
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        if client.token:
            headers["Authorization"] = f"Bearer {client.token}"
        try:
            with client.http.stream(
                "GET", "/stream", params=query, headers=headers, timeout=httpx.Timeout(5.0, read=SILENCE_SECONDS)
            ) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    _refused(answer)
                else:
                    for frame in frames(answer.iter_lines()):
                        wait = PAUSES[0]
                        last = frame.id or last
                        if frame.data and frame.event != "open":
                            yield frame.event, json.loads(frame.data)
        except httpx.TransportError as error:
            output.errors.print(f"[dim]connection lost ({type(error).__name__}), coming back[/dim]", highlight=False)
        finally:
            client.http.close()
        pause(wait)  # back-off before coming back
        wait = min(wait * 2, PAUSES[1])


def watch(
    type_: Annotated[
        list[str] | None, typer.Option("--type", help="Only these types, as run.failed or run.*; repeat, or use commas")
    ] = None,
    pipeline: Annotated[list[str] | None, typer.Option("--pipeline", help="Only changes of these pipelines")] = None,
    run: Annotated[list[str] | None, typer.Option("--run", help="Only changes of these runs")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only changes of these kinds: run, pipeline, replay, ...")] = None,
    since: Annotated[str | None, typer.Option(help="Begin at this time (ISO 8601 with zone) instead of now")] = None,
    until: Annotated[str | None, typer.Option(help="End with the first change of one of these types, as run.succeeded,run.failed")] = None,
    role: Annotated[str | None, typer.Option("--role", help="Ask with this role (embedded issuer)")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Ask for this tenant (embedded issuer)")] = None,
    output_: Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="json: one CloudEvent a line")] = "table",
) -> None:
    """Follow state changes, one line each, until Ctrl-C or --until. Exit code then: 0, 3 for run.failed, 4 for run.cancelled."""
    asked = {"type": type_, "pipeline": pipeline, "run_id": run, "kind": kind}
    query = {name: ",".join(values) for name, values in asked.items() if values}
    if since:
        query["since"] = since
    ends = frozenset(filter(None, (until or "").split(",")))
    connect = lambda: Client.of(CliSettings(), role=role, tenant=tenant)  # noqa: E731
    try:
        for event, data in follow(connect, query):
            if event == "gap":
                output.errors.print(f"[yellow]gap ({data['reason']})[/yellow]: {escape(data['detail'])}", highlight=False)
            elif event == "end":
                output.errors.print(f"[dim]{escape(data['detail'])}[/dim]", highlight=False)
            else:
                _show(data, output_)
                if event in ends:
                    raise typer.Exit(EXIT_CODES.get(event, 0))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _show(change: dict[str, Any], output_: str) -> None:
    if output_ == "json":
        sys.stdout.write(json.dumps(change, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        return
    at = datetime.fromisoformat(change["time"].replace("Z", "+00:00")).astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]
    style = STYLES.get(change["type"].rpartition(".")[2], "cyan")
    named = f"[{style}]{change['type']:<24}[/{style}]"
    output.console.print(f"[dim]{at}[/dim]  {named}  {escape(change['data']['summary'])}", highlight=False, soft_wrap=True)


def _refused(answer: httpx.Response) -> None:
    """Raises what a person must know; a server that is busy or starting is asked again."""
    try:
        document = answer.json()
    except ValueError:
        document = {"detail": answer.text[:300]}
    if answer.status_code not in COME_BACK:
        raise ProblemError(document, answer.status_code)
    output.errors.print(f"[dim]{document.get('code', answer.status_code)}, coming back[/dim]", highlight=False)
