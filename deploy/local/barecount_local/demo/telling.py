"""Who tells the story: its people, what was learned so far, and the claims that each step checks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from barecount_cli.client import Client
from barecount_cli.errors import CliError, ProblemError
from barecount_cli.settings import CliSettings
from barecount_contracts.rules import problem_type
from rich.console import Console

from .listeners import Follower, Receiver

TENANT, OTHER_TENANT = "acme", "globex"
PIPELINE, CONTRACT, CONTRACT_VERSION = "revenue-kpi", "revenue-kpi", "v3.2"
DAY = date(2025, 10, 4)
T = TypeVar("T")


class StoryError(CliError):
    """A step did not show what it claims."""


@dataclass
class Story:
    """Who acts, what they learned so far, and where it is told."""

    settings: CliSettings
    console: Console
    run_id: str = ""
    replay_id: str = ""
    control: Decimal = Decimal(0)
    steps: int = 0
    receiver: Receiver | None = None
    follower: Follower | None = None
    clients: dict[tuple[str | None, str], Client] = field(default_factory=dict)

    def client(self, role: str | None, tenant: str = TENANT) -> Client:
        """One person per role and tenant; None is a caller without a token."""
        if (role, tenant) not in self.clients:
            made = (
                Client(self.settings.address, None)
                if role is None
                else Client.of(self.settings, role=role, tenant=tenant, user=f"{role}@{tenant}")
            )
            self.clients[role, tenant] = made
        return self.clients[role, tenant]

    def close(self) -> None:
        """Nobody listens any more."""
        for listener in (self.receiver, self.follower):
            if listener is not None:
                listener.close()

    @property
    def lake(self) -> Path:
        return self.settings.data_dir / "lake"

    def title(self, text: str) -> None:
        self.steps += 1
        self.console.print(f"\n[bold]{self.steps}. {text}[/bold]", highlight=False, soft_wrap=True)

    def says(self, text: str) -> None:
        self.console.print(f"   {text}", highlight=False, soft_wrap=True)

    def done(self, call: str, text: str) -> None:
        self.console.print(f"   [green]✓[/green] [cyan]{call}[/cyan]  {text}", highlight=False, soft_wrap=True)

    def claim(self, holds: bool, expected: str, got: Any) -> None:
        """Raises: StoryError when the claim does not hold."""
        if not holds:
            raise StoryError(f"step {self.steps}: expected {expected}; got {got}", "See `barecount status` and the logs it names.")

    def refused(self, call: str, code: str, attempt: Callable[[], Any]) -> ProblemError:
        """A call that must be refused with this problem code."""
        try:
            answer = attempt()
        except ProblemError as error:
            self.claim(error.code == code, f"problem {code}", f"{error.code}: {error.message}")
            self.done(call, f"→ {error.status} {error.code}: {error.document.get('detail', '')}")
            return error
        raise StoryError(f"step {self.steps}: {call} was not refused", f"It answered {answer}.")


def ended(client: Client, run_id: str) -> dict[str, Any]:
    """The run, once it has ended. Somebody else asked for it, so execution may not have heard of it yet."""
    waits(lambda: _is_known(client, run_id), f"run {run_id}", seconds=60)
    return list(client.follow_run(run_id))[-1]


def _is_known(client: Client, run_id: str) -> bool:
    try:
        client.get(f"/runs/{run_id}")
    except ProblemError as error:
        if error.code != "run-not-found":
            raise
        return False
    return True


def figures(metrics: dict[str, Any]) -> str:
    return (
        f"{metrics['records_in']:,} in, {metrics['records_out']:,} out, {metrics['dead_lettered']} dead-lettered, "
        f"error rate {metrics['error_rate']}, {metrics['duration_ms']} ms, reconciled: {metrics['reconciled']}"
    )


def waits(look: Callable[[], T], what: str, *, seconds: float = 20.0) -> T:
    """Asks again until there is an answer: other services' read models follow the log by milliseconds.

    Raises: StoryError when there is none in time.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise StoryError(f"{what} did not appear within {seconds:.0f} s", "See `barecount status`: which service lags?")
        time.sleep(0.05)  # between two questions to the API
    return found


def ask_for_replay(client: Client, body: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """The id of the command, and what it led to: ReplayApproved or ApprovalRequested.

    The validation waits for the ledger, which may take longer than a call (a service that was killed comes back first): then the command
    is followed. Raises: ProblemError of a refusal.
    """
    answer = client.write("POST", "/pipelines/replay", body, wait=30)
    command = str(answer["command_id"])
    event = answer.get("event") or waits(lambda: _led_to(client, command), "what the replay led to", seconds=90)
    if event["type"] == "ReplayRefused":
        code = str(event["data"]["code"])
        raise ProblemError({"code": code, "detail": event["data"]["detail"]}, problem_type(code).status)
    return command, event


def _led_to(client: Client, command: str) -> dict[str, Any]:
    """Empty while nothing is decided."""
    for event in client.get(f"/commands/{command}")["events"]:
        if event["type"] in ("ReplayApproved", "ReplayRefused", "ApprovalRequested"):
            return dict(event)
    return {}
