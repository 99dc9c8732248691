"""One log record as outsiders see it: `change_of(known, event, at)` is the whole of the mapping.

Every tenant's records are told, the platform's too: its changes stand under the tenant `platform`, and only a token of that tenant
reads them. So there is no exception to remember, and whoever runs the platform follows its base manifests as everybody does theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from barecount_contracts import CHANGES, CloudEvent, EnvelopeError, Heading, Message, Position, StateChanged, event_id
from barecount_contracts.changes import Kind

from .known import Known, learn
from .words import told

CONTROL: Final = "control.events"
RUNS: Final = "runs.events"
ATTEMPTS: Final = "webhooks.attempts"
SOURCES: Final = (CONTROL, RUNS, ATTEMPTS)
OUTPUT: Final = "state.changes"
SCHEMA: Final = "https://barecount.io/schemas/StateChanged.v1.json"

TYPES: Final[Mapping[str, str]] = {payload: public for public, (payload, _) in CHANGES.items()}
# the kind of thing that a part belongs to
_WHOLE: Final = {"task": "run", "data-partition": "run", "drift": "run", "approval": "replay"}


def change_of(known: Known, event: Heading, at: Position, traceparent: str | None = None) -> tuple[Known, CloudEvent | None]:
    """What is known after the record at `at`, and the change that it tells, or None. Total: unreadable payloads tell nothing."""
    try:
        payload = event.payload()
    except EnvelopeError:
        # the ledger holds it as unreadable; outsiders have no use for it
        return known, None
    public = _public_type(payload, at)
    change = None if public is None else _cloud_event(known, public, payload, event, at, traceparent)
    return learn(known, event.tenant, payload, at), change


def kind_of(public: str) -> Kind:
    """The kind of thing that a public type is about, as READ_ACTIONS names it."""
    part = public.partition(".")[0]
    kind = _WHOLE.get(part, part)
    if kind not in get_args(Kind):
        raise ValueError(f"{public} is about a {kind}, which changes.Kind does not name: add it there, or to _WHOLE here")
    return kind  # type: ignore[return-value]


def _public_type(payload: Message, at: Position) -> str | None:
    if payload.TYPE == "CommandRefused" and at.topic != CONTROL:
        # execution refuses commands of policies only, whose ids nobody outside knows; a run's own refusal is run.refused
        return None
    return TYPES.get(payload.TYPE)


def _cloud_event(known: Known, public: str, payload: Message, event: Heading, at: Position, traceparent: str | None) -> CloudEvent:
    kind = kind_of(public)
    cause = event.cause if at.topic == CONTROL else None
    fields: dict[str, Any] = {"command_id": cause.command_id if cause is not None else None, **told(known, event.tenant, payload)}
    change = StateChanged(
        tenant=event.tenant,
        kind=kind,
        principal=event.principal,
        correlation=event.correlation,
        source=at,
        **fields,
    )
    return CloudEvent(
        id=str(event_id(at.topic, at.partition, at.offset, 0)),
        source=f"/tenants/{event.tenant}/{kind}s",
        type=public,
        subject=change.id,
        time=event.time,
        dataschema=SCHEMA,
        tenant=event.tenant,
        traceparent=traceparent,
        data=change.to_data(),
    )
