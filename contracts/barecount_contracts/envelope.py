"""The one form of a record's value on every topic: an envelope around a payload, as compact UTF-8 JSON.

Kafka headers carry what must be readable without parsing: `type`, `content-type`, `traceparent` and, on an owner's own events,
`inbox-offset`.
"""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal
from uuid import UUID, uuid5

import orjson
from pydantic import Field, ValidationError, create_model
from pydantic_core import SchemaValidator

from .canonical import canonical_of_json
from .message import Message, Part, payload_class, trusted

COMMAND_NAMESPACE: Final = UUID("6f1c1c1e-6a5b-5a43-9a0d-2f1f8b1d7c10")
EVENT_NAMESPACE: Final = UUID("b1f4a1b2-35cb-5d7e-8a7f-5a9e6c3f2d11")
_EVENTS: Final = EVENT_NAMESPACE.bytes
_NO_VERSION: Final = ~(0xF000 << 64 | 0xC000 << 48)
_VERSION_5: Final = 5 << 76 | 0x8000 << 48
# how every record that was written by this library begins
_NAMED: Final = re.compile(rb'\{"id":"[^"\\]{1,64}","type":"(\w{1,100}","version":\d{1,4}),')
# from so many bytes on another parser and then the validation take less time than both in one
_LARGE: Final = 4_096
PLATFORM: Final = "platform"  # the tenant of what belongs to no tenant

Role = Literal["developer", "operator", "governance", "tenant_admin", "auditor", "service"]


class Position(Part):
    """One record's place in the log."""

    topic: str = Field(description="The log")
    partition: int = Field(description="Its partition")
    offset: int = Field(description="The record's offset")


class Cause(Position):
    """The inbox record that an event answers: the `index`-th of `count` events of that offset. Index 0 is the offset's outcome."""

    index: int = Field(default=0, description="Which of the events of that offset")
    count: int = Field(default=1, description="How many there are")
    command_id: UUID | None = Field(default=None, description="The command's id")
    command_type: str | None = Field(default=None, description="Its type")
    command_digest: str | None = Field(default=None, description="Its digest, as signed")
    source: Position | None = Field(default=None, description="What the command was derived from, when a policy appended it")


class Assertion(Part):
    """Who asks, asserted by a service over the command's digest with its Ed25519 key. No bearer token ever enters a log."""

    issuer: str = Field(description="The service that checked the caller and signs")
    principal: str = Field(description="Pseudonymous id of the caller")
    tenant: str = Field(description="For which the caller acts")
    roles: tuple[Role, ...] = Field(description="Which the caller had")
    signature: str = Field(description="Ed25519 over the canonical JSON of this assertion without signature, plus `digest`; base64url")


class Heading(Part):
    """A record's value without its payload: what all kinds of records have."""

    id: UUID = Field(description="Command: UUIDv5(tenant, principal, Idempotency-Key). Event: UUIDv5 of its cause and index")
    type: str = Field(description="The payload's type")
    version: int = Field(default=1, description="And its version")
    tenant: str = Field(description="Whose it is; `platform` when nobody's")
    time: datetime = Field(description="UTC. Event: broker time of its cause. Command: the sender's clock, which decides nothing")
    correlation: UUID = Field(description="The id of the command with which this chain began")
    principal: str | None = Field(default=None, description="Pseudonym of who asked")
    cause: Cause | None = Field(default=None, description="Events: the inbox record that they answer")
    source: Position | None = Field(default=None, description="Commands of a policy: the record from which they were derived")
    assertion: Assertion | None = Field(default=None, description="Commands: who asks, signed")

    @abstractmethod
    def payload(self) -> Message:
        """The typed payload. Raises: EnvelopeError with code `unknown-type` or `invalid-payload`."""

    def to_bytes(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class Envelope(Heading):
    """A record's value."""

    data: dict[str, Any] = Field(description="The payload")

    def payload(self) -> Message:
        """The typed payload.

        Raises: EnvelopeError with code `unknown-type` or `invalid-payload`.
        """
        cls = payload_class(self.type, self.version)
        if cls is None:
            raise EnvelopeError("unknown-type", f"{self.type}.v{self.version} is not a type of this release")
        try:
            # as model_validate, which looks at five options first
            return cls.__pydantic_validator__.validate_python(self.data)  # type: ignore[no-any-return]
        except ValidationError as error:
            raise EnvelopeError("invalid-payload", _explain(self.type, error)) from error


class TypedEnvelope(Heading):
    """A record's value whose payload was read, or will be written, as its type in the same pass. Subclasses: `typed_class`."""

    data: Message = Field(description="The payload")

    def payload(self) -> Message:
        return self.data


class EnvelopeError(ValueError):
    """A record that cannot be read. `code` is a problem code of contracts/problems.yaml; `detail` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


def parse(value: bytes | None) -> Envelope:
    """Reads a record's value.

    Raises: EnvelopeError with code `malformed-record`.
    """
    if not value:
        raise EnvelopeError("malformed-record", "the record has no value; a command is one JSON object")
    try:
        return Envelope.__pydantic_validator__.validate_json(value)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise EnvelopeError("malformed-record", _explain("the record", error)) from error


@cache
def typed_class(payload: type[Message]) -> type[TypedEnvelope]:
    """The form of records with this payload: one pass over the JSON takes two thirds of the time that an envelope and a payload take."""
    # the value must say so where JSON is read, too: it could name a second type further on
    told = {"type": (Literal[payload.TYPE], ...), "version": (Literal[payload.VERSION], 1), "data": (payload, ...)}
    return create_model(f"{payload.__name__}Envelope", __base__=TypedEnvelope, **told)  # type: ignore[call-overload, no-any-return]


def read(value: bytes | None) -> Heading:
    """Reads a record's value with its payload: a TypedEnvelope, or an Envelope when its payload is not one of this release's.

    Raises: EnvelopeError with code `malformed-record`.
    """
    named = _NAMED.match(value or b"")
    if named is not None and value is not None and (form := _form_of(named[1])) is not None:
        try:
            if len(value) < _LARGE:
                return form.validate_json(value)  # type: ignore[no-any-return]
            return form.validate_python(orjson.loads(value))  # type: ignore[no-any-return]
        except (ValidationError, orjson.JSONDecodeError):
            # what is wrong, and with which code, the two steps tell
            pass
    envelope = parse(value)
    try:
        payload = envelope.payload()
    except EnvelopeError:
        return envelope
    return typed(envelope, payload)


_forms: dict[bytes, SchemaValidator] = {}


def _form_of(named: bytes) -> SchemaValidator | None:
    """What reads records of a type of this release; named: `<type>","version":<version>`.

    Names come from the log: only what this release knows may stay in memory.
    """
    form = _forms.get(named)
    if form is None:
        name, _, version = named.decode().partition('","version":')
        known = payload_class(name, int(version))
        if known is not None and str(known.VERSION) == version:
            form = _forms[named] = typed_class(known).__pydantic_validator__  # type: ignore[assignment]
    return form


def typed(head: Heading, payload: Message) -> TypedEnvelope:
    """This heading with a payload that was validated already."""
    fields = {name: getattr(head, name) for name in Heading.model_fields}
    return trusted(typed_class(type(payload)), fields | {"data": payload})


def command_id(tenant: str, principal: str, idempotency_key: str) -> UUID:
    """The id of a command: the same caller and key always give the same id."""
    return uuid5(COMMAND_NAMESPACE, "\x1f".join((tenant, principal, idempotency_key)))


def event_id(topic: str, partition: int, offset: int, index: int) -> UUID:
    """The id of the `index`-th event that answers the inbox record at this position."""
    # as uuid5 of EVENT_NAMESPACE, in three quarters of its time: it is asked for every event
    digested = hashlib.sha1(_EVENTS + f"{topic}/{partition}/{offset}/{index}".encode(), usedforsecurity=False).digest()
    return UUID(int=int.from_bytes(digested[:16]) & _NO_VERSION | _VERSION_5)


def command_digest(command: Envelope) -> str:
    """The digest that an assertion signs and that tells two bodies under one idempotency key apart (RFC 8785, SHA-256).

    It covers what the caller asked (id, type, version, tenant, data), from which record a policy derived it (source), and nothing
    that a retry changes (time).

    Raises: ValueError for content without a canonical form (an integer beyond 2^53-1), RecursionError for one nested too deep.
    """
    asked = command.model_dump(mode="json", include={"id", "type", "version", "tenant", "data", "source"}, exclude_none=True)
    return bytes_digest(canonical_of_json(asked))


def bytes_digest(value: bytes) -> str:
    return f"sha256:{hashlib.sha256(value).hexdigest()}"


def _explain(what: str, error: ValidationError) -> str:
    found = [f"{'.'.join(str(part) for part in e['loc']) or 'value'}: {e['msg']}" for e in error.errors()[:5]]
    return f"{what} is not valid: " + "; ".join(found)
