"""Given events, when a command, then events: the handler's way of running the domain, without Kafka."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any
from uuid import UUID

import yaml
from barecount_command.domain import CommandDecider, State
from barecount_contracts import Cause, Envelope, Message, Position, command_id, event_id
from barecount_eventlog import Inbound

INBOX, START = "pipelines.commands", datetime(2026, 1, 1, tzinfo=UTC)
SAMPLE = files("barecount_local") / "sample"


def sample(name: str, **changes: Any) -> dict[str, Any]:
    """A document of the sample: `retail-transactions.odcs`, `revenue-kpi.odcs` or `revenue-kpi`, with top-level changes."""
    return {**copy.deepcopy(_document(name)), **changes}


@functools.cache
def _document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((SAMPLE / f"{name}.yaml").read_text())
    return found


@dataclass
class History:
    """One partition's life: `when` decides and applies; `events` is its log of (type, data)."""

    decider: CommandDecider = field(default_factory=CommandDecider)
    state: State = field(default_factory=State)
    log: list[Envelope] = field(default_factory=list)
    offset: int = 0

    def when(self, payload: Message, *, tenant: str = "acme", by: str = "user:dev", key: str | None = None) -> list[Message]:
        command = Envelope(
            id=command_id(tenant, by, str(self.offset)),
            type=payload.TYPE,
            tenant=tenant,
            time=START,
            correlation=command_id(tenant, by, str(self.offset)),
            principal=by,
            data=payload.to_data(),
        )
        position = Position(topic=INBOX, partition=0, offset=self.offset)
        now = START + timedelta(seconds=self.offset)
        inbound = Inbound(command, command.payload(), position, key or tenant, now, command.to_bytes())
        before = copy.copy(self.state)
        emitted = list(self.decider.decide(self.state, inbound))
        assert emitted, "decide answers every command"
        assert self.state == before
        for index, emit in enumerate(emitted):
            event = Envelope(
                id=event_id(INBOX, 0, self.offset, index),
                type=emit.payload.TYPE,
                tenant=emit.tenant or tenant,
                time=inbound.now,
                correlation=emit.correlation or command.correlation,
                principal=by,
                cause=Cause(topic=INBOX, partition=0, offset=self.offset, index=index, count=len(emitted), command_id=command.id),
                data=emit.payload.to_data(),
            )
            # through bytes, as the log has it
            self.log.append(Envelope.model_validate_json(event.to_bytes()))
            self.state = self.decider.evolve(self.state, self.log[-1])
        self.offset += 1
        return [emit.payload for emit in emitted]

    def last_id(self) -> UUID:
        cause = self.log[-1].cause
        assert cause is not None
        assert cause.command_id is not None
        return cause.command_id


def code(events: list[Message]) -> str:
    """The code of a refusal, or the type of what happened."""
    return getattr(events[0], "code", events[0].TYPE)
