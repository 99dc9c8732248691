"""The answers that are no news: refusals, and `it is so already`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from barecount_contracts import CommandDuplicated, CommandRefused
from barecount_eventlog import Emit, Inbound
from barecount_manifest import Problem


def refuse(inbound: Inbound, code: str, detail: str, **extra: Any) -> list[Emit]:
    """One CommandRefused. `code` is a row of problems.yaml; `extra` is what a program may want to know."""
    command = inbound.command
    return [Emit(CommandRefused(command_id=command.id, command_type=command.type, code=code, detail=detail, extra=extra))]


def refuse_with(inbound: Inbound, code: str, what: str, problems: Iterable[Problem]) -> list[Emit]:
    """A refusal that lists every problem of a document under `extra.errors`, as {"path", "message", "hint"}."""
    listed = [problem.as_dict() for problem in problems]
    shown = "; ".join(f"{item['path'] or '/'} {item['message']}" for item in listed[:3])
    more = f"; and {len(listed) - 3} more" if len(listed) > 3 else ""
    return refuse(inbound, code, f"{what} has {len(listed)} problem(s): {shown}{more}"[:2000], errors=listed[:100])


def unchanged(inbound: Inbound) -> list[Emit]:
    """What the command asks for is so already, to the byte: nothing happens, and the caller is told so."""
    return [Emit(CommandDuplicated(command_id=inbound.command.id, reason="same-content"))]


def principal_of(inbound: Inbound) -> str:
    """Who asks: the principal that the service asserted, not the envelope's own word."""
    command = inbound.command
    return command.assertion.principal if command.assertion else command.principal or ""
