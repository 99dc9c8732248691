"""What the routes of one process share, and the rules of opening a stream."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from barecount_chassis import Caller, Problem
from barecount_contracts import CHANGES, READ_ACTIONS, unknown_patterns

from . import metrics
from .domain.cursor import BadCursor, Cursors
from .domain.selection import Selection, Told, readable_kinds, shows
from .follower import Follower
from .hub import Hub
from .session import Pace


@dataclass
class Desk:
    """stopping: set when the process shall end. limit: streams of one principal."""

    hub: Hub
    cursors: Cursors
    pace: Pace
    limit: int
    stopping: asyncio.Event
    _open: Counter[str] = field(default_factory=Counter)

    def admit(self, caller: Caller) -> None:
        """Counts a stream until `left`. Raises: Problem `too-many-streams`."""
        if self._open[self._who(caller)] >= self.limit:
            metrics.REFUSED.inc()
            raise Problem("too-many-streams", f"you have {self.limit} streams open", headers={"Retry-After": "10"})
        self._open[self._who(caller)] += 1

    def left(self, caller: Caller) -> None:
        self._open[self._who(caller)] -= 1
        if not self._open[self._who(caller)]:
            del self._open[self._who(caller)]

    async def follower(self, caller: Caller, selection: Selection, cursor: str | None, since: datetime | None) -> Follower:
        """Raises: Problem `cursor-invalid`, KafkaError."""
        readable = readable_kinds(caller.may)

        def shown(change: Told) -> bool:
            return shows(selection, caller.tenant, readable, change)

        try:
            return await Follower.open(self.hub, self.cursors, caller.tenant, shown, cursor=cursor, since=since)
        except BadCursor as error:
            raise Problem("cursor-invalid", str(error)) from error

    def _who(self, caller: Caller) -> str:
        return f"{caller.tenant}/{caller.principal}"


def selection_of(types: list[str], kinds: list[str], pipelines: list[str], run_ids: list[str]) -> Selection:
    """Each value may hold several, separated by commas. Raises: Problem `unknown-event-type` or `invalid-request`."""
    wanted = tuple(_split(types))
    if unknown := unknown_patterns(wanted):
        raise Problem("unknown-event-type", f"no event has the type {', '.join(unknown)}", extra={"exists": list(CHANGES)})
    of_kinds = frozenset(_split(kinds))
    if strange := of_kinds - READ_ACTIONS.keys():
        said: dict[str, Any] = {"exists": list(READ_ACTIONS)}
        raise Problem("invalid-request", f"there is no kind {', '.join(sorted(strange))}", extra=said)
    return Selection(wanted, of_kinds, frozenset(_split(pipelines)), frozenset(_split(run_ids)))


def _split(values: list[str]) -> list[str]:
    return [part for value in values for part in (one.strip() for one in value.split(",")) if part]
