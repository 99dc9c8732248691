"""One HTTP call while it is being answered: who, which permission, which command. The record in api.calls is made of it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from starlette.types import Scope

from .identity import Caller

ANONYMOUS: Final = "anonymous"


@dataclass(slots=True)
class Call:
    """Filled on the way through; calls.py makes it and writes it down."""

    request_id: UUID
    received: datetime
    started: float = field(repr=False)
    caller: Caller | None = None
    action: str | None = None
    command_id: UUID | None = None
    idempotency_key: str | None = None
    accepted: bool = False
    """Whether the broker has acknowledged the command: from then on it is decided, whatever this call is answered."""
    problem_code: str | None = None
    request_digest: str | None = None
    streaming: bool = False

    @property
    def standing(self) -> dict[str, Any]:
        """Members of a problem whose caller must know that the command stands, lest it is sent anew; empty without one."""
        return {"command_id": str(self.command_id), "idempotency_key": self.idempotency_key} if self.accepted else {}

    @property
    def correlation(self) -> UUID:
        """The command that began the chain, or the call itself."""
        return self.command_id or self.request_id


_CURRENT: ContextVar[Call | None] = ContextVar("barecount_call", default=None)


def current_call() -> Call | None:
    """The call that this task answers; None outside of HTTP."""
    return _CURRENT.get()


def begin(scope: Scope, call: Call) -> None:
    scope.setdefault("state", {})["call"] = call
    _CURRENT.set(call)


def call_of(scope: Scope) -> Call | None:
    found = scope.get("state", {}).get("call")
    return found if isinstance(found, Call) else None
