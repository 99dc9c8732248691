"""Two outsiders: a webhook receiver that verifies with the official library, and somebody who follows the stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from barecount_cli.errors import CliError
from barecount_cli.listening import Delivery
from barecount_cli.listening import Receiver as VerifyingReceiver
from httpx_sse import EventSource


@dataclass(frozen=True)
class Told:
    """An event as it arrived: its id (`webhook-id`, `ce_id`), its public type and its data."""

    id: str
    type: str
    data: dict[str, Any]


@dataclass
class Receiver:
    """A webhook receiver on a loopback port; only what verifies with the endpoint's secret is taken. Raises: OSError (port taken)."""

    port: int
    secret: Callable[[], str]
    forget: Callable[[], object]
    deliveries: list[Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = VerifyingReceiver(secret=self.secret, show=self._show).serve(self.port)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def of(self, event_type: str, run_id: str) -> list[Told]:
        """What arrived of this type about this run."""
        return [told for told in self.deliveries if told.type == event_type and told.data.get("run_id") == run_id]

    def close(self) -> None:
        """Takes the endpoint away, and then the receiver."""
        with suppress(CliError):
            self.forget()
        self._server.shutdown()
        self._server.server_close()

    def _show(self, delivery: Delivery) -> None:
        if delivery.problem is None:
            self.deliveries.append(Told(delivery.id, delivery.type, delivery.data))


@dataclass
class Follower:
    """Follows GET /stream from now on in a thread, and goes on with the last id after a cut."""

    address: str
    token: str | None
    query: dict[str, str]
    seen: list[Told] = field(default_factory=list)
    last_id: str | None = None

    def __post_init__(self) -> None:
        self.opened = threading.Event()
        self._stop = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def of(self, event_type: str, run_id: str) -> list[Told]:
        """What came of this type about this run."""
        return [told for told in self.seen if told.type == event_type and told.data.get("run_id") == run_id]

    def close(self) -> None:
        self._stop.set()

    def _follow(self) -> None:
        while not self._stop.is_set():
            # a service that was restarted: the same call with the last id goes on where this one ended
            with suppress(httpx.HTTPError, ValueError):
                for told in self._events():
                    self.seen.append(told)
                    if self._stop.is_set():
                        return
            self._stop.wait(0.2)

    def _events(self) -> Iterator[Told]:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "text/event-stream"}
        if self.last_id:
            headers["Last-Event-ID"] = self.last_id
        with httpx.stream(
            "GET", f"{self.address}/stream", params=self.query, headers=headers, timeout=httpx.Timeout(60, connect=5), trust_env=False
        ) as answer:
            answer.raise_for_status()
            for event in EventSource(answer).iter_sse():
                self.opened.set()
                self.last_id = event.id or self.last_id
                if event.data and "." in event.event:
                    change = json.loads(event.data)
                    yield Told(change["id"], change["type"], change["data"])
