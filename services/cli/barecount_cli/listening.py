"""`barecount webhooks listen`: a receiver on this machine that verifies each delivery with the official library and shows it."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from standardwebhooks import Webhook, WebhookVerificationError

from . import output
from .client import Client
from .errors import CliError, ProblemError, WaitTimeoutError
from .settings import CliSettings
from .writing import decided

KNOWN_SECONDS = 20.0


@dataclass(frozen=True)
class Delivery:
    """One request as it came. problem: why the signature does not verify; None when it does."""

    id: str
    type: str
    data: dict[str, Any]
    status: int
    problem: str | None


@dataclass
class Receiver:
    """secret: of the endpoint; asked for again when a signature does not verify, because it may have been rotated.

    fail: how many deliveries are answered with `status` before one is taken; None: every one.
    """

    secret: Callable[[], str]
    show: Callable[[Delivery], None]
    fail: int | None = 0
    status: int = 503
    _known: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, port: int) -> ThreadingHTTPServer:
        """Raises: OSError when the port is taken."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Every delivery is shown already."""

        return ThreadingHTTPServer(("127.0.0.1", port), Handler)

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """The status that the sender gets."""
        with self._lock:
            problem = self._verify(headers, body)
            try:
                told = json.loads(body)
            except ValueError:
                told = {}
            failing = self.fail is None or self.fail > 0
            if problem is None and failing and self.fail is not None:
                self.fail -= 1
            status = 400 if problem is not None else self.status if failing else 204
            self.show(Delivery(headers.get("webhook-id", "?"), str(told.get("type", "?")), dict(told.get("data") or {}), status, problem))
            return status

    def _verify(self, headers: dict[str, str], body: bytes) -> str | None:
        problem, self._known = "", self._known or self.secret()
        for _ in range(2):
            try:
                Webhook(self._known).verify(body, headers)
                return None
            # the library raises ValueError for an entry that is no signature, and for a secret that is none
            except (WebhookVerificationError, ValueError) as error:
                problem = str(error) or type(error).__name__
                self._known = self.secret()
        return problem


def listen(
    port: Annotated[int | None, typer.Option(help="Without it the one that the embedded stack allows: ten above the API's")] = None,
    events: Annotated[str, typer.Option("--events", help="Types as run.failed, kinds as run.*, or *; with commas")] = (
        "run.succeeded,run.failed,drift.detected"
    ),
    pipeline: Annotated[list[str] | None, typer.Option("--pipeline", help="Only events of this pipeline; may be repeated")] = None,
    fail: Annotated[int | None, typer.Option(min=0, help="Answer so many deliveries with --status, to see them come again")] = None,
    status: Annotated[int | None, typer.Option(min=200, max=599, help="503 unless said; without --fail for every delivery")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the endpoint when this ends; events then wait for the next `listen`")] = False,
    role: Annotated[str | None, typer.Option("--role", help="Ask with this role (embedded issuer)")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Ask for this tenant (embedded issuer)")] = None,
    output_: Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="json: one object a delivery")] = "table",
) -> None:
    """Receive on this machine: register an endpoint, show and verify each delivery, end with Ctrl-C."""
    settings = CliSettings()
    client = Client.of(settings, role=role, tenant=tenant)
    place = port or settings.webhook_listen_port
    url = f"http://127.0.0.1:{place}/"
    wanted = {"url": url, "event_types": [one.strip() for one in events.split(",") if one.strip()], "pipelines": pipeline or []}
    show = _as_json if output_ == "json" else _as_line
    address = ""

    def secret() -> str:
        return str(client.get(f"{address}/secret")["secret"])

    receiver = Receiver(secret, show, fail=None if status is not None and fail is None else fail or 0, status=status or 503)
    try:
        server = receiver.serve(place)
    except OSError as error:
        raise CliError(
            f"port {place} cannot be listened on: {error.strerror}", "End what listens there, or name another --port."
        ) from error
    address = _endpoint(client, url, wanted)
    _known(secret)
    ended = threading.Event()
    # also where the shell started this in the background, which ignores SIGINT for it
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: ended.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    output.errors.print(f"listening at {url} as {address.removeprefix('/webhooks/')}; end with Ctrl-C", highlight=False)
    ended.wait()
    server.shutdown()
    server.server_close()
    if not keep:
        _deleted(client, address)


def _endpoint(client: Client, url: str, wanted: dict[str, Any]) -> str:
    """The endpoint of this address, made or taken up again."""
    for endpoint in client.items("/webhooks"):
        if endpoint["url"] == url:
            address = f"/webhooks/{endpoint['endpoint_id']}"
            decided(client.write("PUT", address, {**wanted, "enabled": True}))
            return address
    made = client.write("POST", "/webhooks", {**wanted, "description": "barecount webhooks listen"})
    return f"/webhooks/{decided(made)['endpoint_id']}"


def _deleted(client: Client, address: str) -> None:
    decided(client.write("DELETE", address))
    output.errors.print("the endpoint is deleted", highlight=False)


def _known(secret: Callable[[], str]) -> None:
    """The relay follows the log: it knows a new endpoint a moment later."""
    deadline = time.monotonic() + KNOWN_SECONDS
    while True:
        try:
            secret()
            return
        except ProblemError as error:
            if error.status != 404:
                raise
        if time.monotonic() > deadline:
            raise WaitTimeoutError(f"the relay does not know the endpoint after {KNOWN_SECONDS:g} s", "`barecount status` shows its lag.")
        time.sleep(0.1)  # the API has no way to wait for it: ask again


def _as_line(one: Delivery) -> None:
    mark = "[green]✓ verified[/green]" if one.problem is None else f"[red]✗ {escape(one.problem)}[/red]"
    # JSON quotes what would move the cursor or colour the line
    summary = json.dumps(one.data.get("summary", ""), ensure_ascii=False)
    about = one.data.get("run_id") or one.data.get("id") or ""
    output.console.print(
        f"{datetime.now().astimezone():%H:%M:%S} {mark} {one.type} {about} {summary} → {one.status}  {one.id}",
        highlight=False,
        soft_wrap=True,
    )


def _as_json(one: Delivery) -> None:
    shown = {
        "id": one.id,
        "type": one.type,
        "verified": one.problem is None,
        "problem": one.problem,
        "answered": one.status,
        "data": one.data,
    }
    typer.echo(json.dumps(shown, ensure_ascii=False))
