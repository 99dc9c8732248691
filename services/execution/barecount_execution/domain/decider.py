"""The domain as the handler takes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from barecount_contracts import Heading
from barecount_eventlog import Emit, Inbound

from .decide import decide
from .evolve import Fact, apply
from .snapshot import dump, load
from .state import State

LEASE_SECONDS = 10


class ExecutionDecider:
    """lease_seconds: how long an attempt is believed in without a word of its worker; workers beat every third of it."""

    SNAPSHOT_VERSION = "execution2"

    def __init__(self, lease_seconds: int = LEASE_SECONDS) -> None:
        self._lease = lease_seconds

    def initial(self) -> State:
        return State()

    def decide(self, state: State, inbound: Inbound) -> Sequence[Emit]:
        return decide(state, inbound, self._lease)

    def evolve(self, state: State, event: Heading) -> State:
        return apply(state, Fact(event.payload(), event.tenant, event.correlation, event.time))

    def deadline(self, state: State) -> datetime | None:
        return state.deadline()

    def dump(self, state: State) -> bytes:
        return dump(state)

    def load(self, blob: bytes) -> State:
        return load(blob)
