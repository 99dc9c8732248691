"""What a deciding service brings: pure decide and evolve, and a gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable
from uuid import UUID

from barecount_contracts import Envelope, Heading, Message, Position

from .record import Recorded

S = TypeVar("S")


class Inbound(NamedTuple):
    """One admitted command as decide sees it. A tuple, as all that is made for every command: a frozen dataclass takes 1.5 µs, this 0.6.

    now: broker time of the inbox record, never going backwards in a partition. value: the record as it was written.
    """

    command: Heading
    payload: Message
    position: Position
    key: str
    now: datetime
    value: bytes | None = None


class Emit(NamedTuple):
    """One event that decide answers with.

    tenant, correlation: None = the command's. topic: None = the own events topic, same partition. key: None = the inbox record's key; on
    another topic the key whose murmur2 picks the partition.
    """

    payload: Message
    tenant: str | None = None
    topic: str | None = None
    key: str | None = None
    correlation: UUID | None = None


class Decider(Protocol[S]):
    """The whole domain of one inbox. Everything is pure; S is an immutable value."""

    SNAPSHOT_VERSION: str

    def initial(self) -> S: ...

    def decide(self, state: S, inbound: Inbound) -> Sequence[Emit]:
        """Never empty. Index 0 is the inbox offset's outcome and stands on the own events topic."""
        ...

    def evolve(self, state: S, event: Heading) -> S:
        """Total over the events of the own events topic. What was written as one payload is read as the same: `event.payload()`."""
        ...

    def deadline(self, state: S) -> datetime | None:
        """The earliest time at which a Tick must be recorded; None: no tick is wanted."""
        ...

    def dump(self, state: S) -> bytes: ...

    def load(self, blob: bytes) -> S: ...


@runtime_checkable
class EvolvesAll(Protocol[S]):
    """A decider that restores faster than by `evolve` of one event after the other."""

    def evolve_all(self, state: S, events: Sequence[Heading]) -> S:
        """What `evolve` of one after the other gives, to the byte of its dump."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a gate lets a record not in; it becomes a RecordRejected event.

    proven: the assertion is genuine and only a permission is missing. Only then the event names the command's id and tenant; a forged
    record must not write into another's history.
    """

    code: str
    detail: str
    proven: bool = False


class Asking(NamedTuple, Generic[S]):
    """What a gate may look at besides the command: its record, the partition's domain state and the time that decides.

    now: broker time of the record, never going backwards in a partition. first: where a command of the same id was decided within the
    idempotency window; None when it is news. digest: command_digest of the command, so that nobody computes it twice. vouched: whether its
    assertion is signed by the key of the issuer that it names, when that was found out already.
    """

    record: Recorded
    state: S
    now: datetime
    first: Position | None
    digest: str | None = None
    vouched: bool | None = None


Gate = Callable[[Heading, Asking[S]], Refusal | None]
TickOf = Callable[[int], Envelope]
