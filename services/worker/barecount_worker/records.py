"""What a worker writes beside its reports: log lines and dead letters, as envelopes. Pure: ids follow from the attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args
from uuid import UUID, uuid5

from barecount_contracts import Envelope, Message, RecordDeadLettered, RunLogged, RunTask, SourcePosition

NAMESPACE: Final = UUID("3f0b9a52-6f0c-5d0e-9a8e-5a1c7f4e2b60")
LOGS: Final = "run.logs"
DLQ: Final = "dlq"
Level = Literal["debug", "info", "warning", "error"]
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Order:
    """A task with what its envelope adds."""

    tenant: str
    correlation: UUID
    task: RunTask

    @property
    def nonce(self) -> str:
        return self.task.task.nonce


def logged(order: Order, sequence: int, level: str, event: str, fields: Mapping[str, Any], now: datetime) -> Envelope:
    """One line; `error_type` moves from the fields to its own place. now: the worker's clock, which decides nothing."""
    ref, said = order.task.task, dict(fields)
    error_type = said.pop("error_type", None)
    payload = RunLogged(
        run_id=order.task.run_id,
        stage=ref.stage,
        data_partition=ref.data_partition,
        attempt=ref.attempt,
        worker_id=ref.worker_id,
        level=_level(level),
        event=event,
        error_type=None if error_type is None else str(error_type),
        fields={name: _plain(value) for name, value in said.items()},
        sequence=sequence,
    )
    return _envelope(order, payload, f"{LOGS}/{order.nonce}/{sequence}", now)


def dead_lettered(order: Order, letter: Mapping[str, Any], now: datetime) -> Envelope:
    """One record that the stage could not take. A later attempt that meets it again gives the same entry id."""
    ref = order.task.task
    path, line = str(letter["path"]), letter.get("line")
    entry = entry_id(order, path, line)
    payload = RecordDeadLettered(
        entry_id=str(entry),
        run_id=order.task.run_id,
        pipeline=order.task.plan.pipeline,
        stage=ref.stage,
        data_partition=ref.data_partition,
        attempt=ref.attempt,
        error_type=str(letter["error_type"]),
        reason=str(letter["reason"])[:_LONGEST],
        source=SourcePosition(path=path, line=line),
        payload=str(letter["payload"])[:_LONGEST],
    )
    return _envelope(order, payload, f"{DLQ}/{order.nonce}/{entry}", now)


def entry_id(order: Order, path: str, line: int | None) -> UUID:
    """The id of a dead letter: tenant, run, stage, data partition and the place in the source."""
    ref = order.task.task
    return uuid5(NAMESPACE, "\x1f".join((order.tenant, order.task.run_id, ref.stage, ref.data_partition, path, str(line))))


def _envelope(order: Order, payload: Message, name: str, now: datetime) -> Envelope:
    return Envelope(
        id=uuid5(NAMESPACE, name),
        type=payload.TYPE,
        version=payload.VERSION,
        tenant=order.tenant,
        time=now,
        correlation=order.correlation,
        principal="service:worker",
        data=payload.to_data(),
    )


def _level(level: str) -> Level:
    return level if level in get_args(Level) else "info"  # type: ignore[return-value]


def _plain(value: Any) -> Any:
    """JSON values as they are, texts cut; anything else as text."""
    match value:
        case bool() | int() | None:
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else str(value)
        case str():
            return value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
        case list() | tuple():
            return [_plain(one) for one in value[:100]]
        case dict():
            return {str(name)[:200]: _plain(one) for name, one in list(value.items())[:100]}
        case _:
            return str(value)[:_LONGEST]
