"""A small domain for the library's own tests: numbered sums per key, with a deadline that a Tick ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from barecount_contracts import PLATFORM, CommandRefused, Envelope, Message, Position, Tick, TickRecorded, command_id, message
from barecount_eventlog import Emit, Inbound, Refusal
from immutables import Map


@message()
class AddNumber(Message):
    """A test's command."""

    number: int
    alarm_in_ms: int | None = None
    emits: int = 1
    pad: int = 0


@message()
class NumberAdded(Message):
    """A test's event."""

    number: int
    total: int
    alarm: datetime | None = None
    pad: str = ""


@message()
class AlarmRang(Message):
    """A test's event of time."""

    late_ms: int


@dataclass(frozen=True)
class Sums:
    totals: Map[str, int] = Map()  # noqa: RUF009
    alarm: datetime | None = None


class Counter:
    """Number 13 is refused, 666 makes decide raise."""

    SNAPSHOT_VERSION = "counter1"

    def initial(self) -> Sums:
        return Sums()

    def decide(self, state: Sums, inbound: Inbound) -> Sequence[Emit]:
        match inbound.payload:
            case Tick():
                if state.alarm is None or inbound.now < state.alarm:
                    return [Emit(TickRecorded())]
                return [Emit(AlarmRang(late_ms=int((inbound.now - state.alarm) / timedelta(milliseconds=1))))]
            case AddNumber(number=13):
                return [
                    Emit(
                        CommandRefused(
                            command_id=inbound.command.id, command_type="AddNumber", code="not-found", detail="13 is not a number"
                        )
                    )
                ]
            case AddNumber(number=666):
                raise RuntimeError("a bug in decide")
            case AddNumber() as asked:
                total = state.totals.get(inbound.command.tenant, 0) + asked.number
                alarm = inbound.now + timedelta(milliseconds=asked.alarm_in_ms) if asked.alarm_in_ms is not None else None
                first = Emit(NumberAdded(number=asked.number, total=total, alarm=alarm, pad="x" * asked.pad))
                more = [Emit(NumberAdded(number=0, total=total, pad="x" * asked.pad)) for _ in range(asked.emits - 1)]
                return [first, *more]
            case _:
                raise AssertionError(inbound.payload)

    def evolve(self, state: Sums, event: Envelope) -> Sums:
        match event.payload():
            case NumberAdded() as added:
                alarm = added.alarm or state.alarm
                return Sums(state.totals.set(event.tenant, added.total), alarm)
            case AlarmRang():
                return replace(state, alarm=None)
            case _:
                return state

    def deadline(self, state: Sums) -> datetime | None:
        return state.alarm

    def dump(self, state: Sums) -> bytes:
        return json.dumps([sorted(state.totals.items()), state.alarm.isoformat() if state.alarm else None]).encode()

    def load(self, blob: bytes) -> Sums:
        totals, alarm = json.loads(blob)
        return Sums(Map(totals), datetime.fromisoformat(alarm) if alarm else None)


def gate(command: Envelope, asking: object) -> Refusal | None:
    return Refusal("unsigned-command", "no assertion") if command.principal is None else None


def add(number: int, tenant: str = "acme", key: str | None = None, source: Position | None = None, **more: object) -> Envelope:
    payload = AddNumber(number=number, **more)  # type: ignore[arg-type]
    identity = command_id(tenant, "user:1", key or str(uuid4()))
    return envelope_of(payload, identity, tenant, source)


def envelope_of(payload: Message, identity: UUID, tenant: str, source: Position | None = None) -> Envelope:
    return Envelope(
        id=identity,
        type=payload.TYPE,
        version=payload.VERSION,
        tenant=tenant,
        time=datetime.fromisoformat("2020-01-01T00:00:00+00:00"),
        correlation=identity,
        principal="user:1",
        source=source,
        data=payload.to_data(),
    )


def tick(partition: int) -> Envelope:
    return envelope_of(Tick(partition=partition), uuid4(), PLATFORM)
