"""The way of a command into an inbox: its id, its digest's assertion, the append, and the acknowledgement."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid4

from barecount_contracts import Envelope, Message, Position, catalogue, command_id
from barecount_contracts.rules import command_rule

from . import telemetry
from .identity import Caller
from .keyring import Keyring
from .problems import Problem
from .scope import current_call

DEADLINE_SECONDS = 0.5
LONGEST_KEY = 255


class Appends(Protocol):
    """What the chassis asks of the event log's Appender: one record, acknowledged by all replicas."""

    async def append(self, topic: str, key: str, envelope: Envelope) -> Position: ...


@dataclass(frozen=True, slots=True)
class Submitted:
    """A command that stands in the inbox. Its outcome is the event whose cause is this position."""

    command_id: UUID
    position: Position
    envelope: Envelope
    idempotency_key: str


class CommandBus:
    """Appends commands to one inbox, signed by this service."""

    def __init__(self, appender: Appends, keyring: Keyring, *, inbox: str) -> None:
        self._appender, self._keyring = appender, keyring
        self._topic = catalogue().topics[inbox]

    async def submit(
        self, caller: Caller, payload: Message, *, idempotency_key: str | None, correlation: UUID | None = None, key: str | None = None
    ) -> Submitted:
        """Appends what a caller asks; the record key is the caller's tenant unless another is given.

        Raises: Problem `forbidden`, `invalid-request` (the key), `payload-too-large`, or `evidence-unavailable` when the broker
        has not acknowledged in 500 ms: the command may stand in the log, and the same Idempotency-Key makes a retry safe.
        """
        idempotency_key = _checked(idempotency_key) if idempotency_key is not None else str(uuid4())
        rule = command_rule(payload.TYPE)
        if rule is None or not caller.may(rule.action):
            raise Problem("forbidden", f"{payload.TYPE} needs {rule.action if rule else 'a permission that nobody has'}")
        identity = command_id(caller.tenant, caller.principal, idempotency_key)
        command = self._keyring.sign_assertion(caller, self._envelope(identity, payload, caller.tenant, correlation or identity, None))
        self._check_size(command)
        call = current_call()
        if call is not None:
            call.command_id, call.idempotency_key = identity, idempotency_key
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                position = await self._append(key or caller.tenant, command)
        except TimeoutError as error:
            detail = f"the broker did not acknowledge {payload.TYPE} {identity} within {DEADLINE_SECONDS:g} s"
            raise Problem("evidence-unavailable", detail, idempotency_key=idempotency_key) from error
        if call is not None:
            call.accepted = True
        return Submitted(identity, position, command, idempotency_key)

    async def derive(
        self, payload: Message, *, tenant: str, source: Position, correlation: UUID, key: str | None = None, index: int = 0
    ) -> Submitted:
        """Appends what a policy concludes from the record at `source`, signed with the role `service`.

        The id follows from the source and `index`, so a policy that repeats itself repeats the same command. Waits as long as the
        broker takes: a policy has no caller who waits.
        """
        identity_key = f"{source.topic}/{source.partition}/{source.offset}/{index}/{payload.TYPE}"
        identity = command_id(tenant, self._keyring.principal, identity_key)
        command = self._keyring.service_assertion(self._envelope(identity, payload, tenant, correlation, source))
        return Submitted(identity, await self._append(key or tenant, command), command, identity_key)

    async def report(self, payload: Message, *, tenant: str, correlation: UUID, key: str, idempotency_key: str) -> Submitted:
        """Appends what the service itself says: a worker's report, an owner's tick. The same key is the same command."""
        identity = command_id(tenant, self._keyring.principal, idempotency_key)
        command = self._keyring.service_assertion(self._envelope(identity, payload, tenant, correlation, None))
        return Submitted(identity, await self._append(key, command), command, idempotency_key)

    def _envelope(self, identity: UUID, payload: Message, tenant: str, correlation: UUID, source: Position | None) -> Envelope:
        name = f"{payload.TYPE}.v{payload.VERSION}"
        if name not in self._topic.payloads:
            raise ValueError(f"{name} is not a payload of {self._topic.name}: contracts/topics.yaml lists what is")
        now = datetime.now(UTC)
        return Envelope(
            id=identity,
            type=payload.TYPE,
            version=payload.VERSION,
            tenant=tenant,
            time=now,
            correlation=correlation,
            source=source,
            data=payload.to_data(),
        )

    async def _append(self, key: str, command: Envelope) -> Position:
        with telemetry.tracer().start_as_current_span(telemetry.SPAN_SUBMIT) as span:
            span.set_attribute("barecount.command.type", command.type)
            span.set_attribute("barecount.command.id", str(command.id))
            position = await self._appender.append(self._topic.name, key, command)
        telemetry.COMMANDS.labels(command.type).inc()
        return position

    def _check_size(self, command: Envelope) -> None:
        size = len(command.to_bytes())
        if size > self._topic.max_bytes:
            detail = f"{command.type} takes {size} bytes; {self._topic.name} takes at most {self._topic.max_bytes}"
            raise Problem("payload-too-large", detail)


def _checked(key: str) -> str:
    if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable() or not key.isascii():
        detail = f"Idempotency-Key must be 1 to {LONGEST_KEY} printable ASCII characters"
        raise Problem("invalid-request", detail, errors=[{"in": "header", "pointer": "/Idempotency-Key", "detail": detail}])
    return key
