"""One source record becomes one leaf: who did what to which thing, when, with which outcome, and where the log says so.

Total: whatever stands in a source log gets a leaf. What cannot be read is type `unreadable`, what this release does not know
has no facts, and what would be too large for a leaf is named by its digest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from barecount_contracts import (
    PLATFORM,
    ApiCalled,
    Envelope,
    EnvelopeError,
    EvidenceRecord,
    Message,
    Outcome,
    Position,
    Subject,
    event_id,
    parse,
    payload_class,
)
from barecount_transparency import MAX_ENTRY, JsonError, canonical, digest, digest_bytes

UNREADABLE: Final = "unreadable"

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_SAFE_INTEGER = 2**53 - 1


def evidence_of(source: Position, value: bytes, at: datetime, traceparent: str | None = None) -> EvidenceRecord:
    """The evidence of the record `value` that stands at `source`; `at` is the broker's time, used where the record gives none."""
    try:
        envelope = parse(value)
    except EnvelopeError as error:
        return EvidenceRecord(
            type=UNREADABLE,
            version=0,
            tenant=PLATFORM,
            at=at,
            outcome="failed",
            facts={"code": error.code, "size": len(value)},
            digest=digest_bytes(value),
            trace_id=_trace_id(traceparent),
            source=source,
            correlation=event_id(source.topic, source.partition, source.offset, 0),
        )
    payload = _payload(envelope)
    cause = envelope.cause
    return EvidenceRecord(
        type=envelope.type,
        version=envelope.version,
        tenant=envelope.tenant,
        principal=envelope.principal,
        at=envelope.time,
        outcome=_outcome(envelope, payload),
        subject=_subject(payload),
        facts=_facts(payload),
        digest=digest_bytes(value),
        trace_id=_trace_id(traceparent),
        source=source,
        cause=None if cause is None else Position(topic=cause.topic, partition=cause.partition, offset=cause.offset),
        origin=None if cause is None else cause.source,
        command_id=(cause.command_id if cause is not None else None) or getattr(payload, "command_id", None),
        correlation=envelope.correlation,
    )


def leaf_of(record: EvidenceRecord) -> bytes:
    """The leaf: canonical JSON without absent fields, at most 65,535 bytes (C2SP bundles). Large facts give way to their digests."""
    data = record.model_dump(mode="json", exclude_none=True)
    leaf = _canonical(data)
    if len(leaf) <= MAX_ENTRY:
        return leaf
    data["facts"] = _shortened(data["facts"], len(leaf) - MAX_ENTRY)
    return _canonical(data)


def _payload(envelope: Envelope) -> Message | None:
    try:
        return envelope.payload()
    except EnvelopeError:
        return None


def _outcome(envelope: Envelope, payload: Message | None) -> Outcome:
    if isinstance(payload, ApiCalled):
        # a denied call is evidence of a refusal, whatever its type says
        return "ok" if payload.status < 400 else "refused" if payload.status < 500 else "failed"
    known = payload_class(envelope.type, envelope.version)
    return known.OUTCOME if known is not None else "ok"


def _subject(payload: Message | None) -> Subject | None:
    if payload is None or payload.SUBJECT is None:
        return None
    kind, field = payload.SUBJECT
    return Subject(kind=kind, id=str(getattr(payload, field)))


def _facts(payload: Message | None) -> dict[str, Any]:
    if payload is None:
        return {}
    data = payload.to_data()
    found = {name: _fact(data, name) for name in payload.FACTS}
    return {name: value for name, value in found.items() if value is not None}


def _fact(data: Mapping[str, Any], name: str) -> Any:
    """The value at a dotted name, or None."""
    at: Any = data
    for part in name.split("."):
        at = at.get(part) if isinstance(at, Mapping) else None
    return at


def _trace_id(traceparent: str | None) -> str | None:
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return found[1] if found and found[1] != "0" * 32 else None


def _canonical(data: dict[str, Any]) -> bytes:
    try:
        return canonical(data)
    except JsonError:
        return canonical(_safe(data))


def _safe(value: Any) -> Any:
    """The value with what JSON readers would round or refuse written as text."""
    match value:
        case bool() | None:
            return value
        case int():
            return value if -_SAFE_INTEGER <= value <= _SAFE_INTEGER else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case Mapping():
            return {str(_safe(key)): _safe(item) for key, item in value.items()}
        case list() | tuple():
            return [_safe(item) for item in value]
        case _:
            return str(value)


def _shortened(facts: dict[str, Any], excess: int) -> dict[str, Any]:
    """Facts with the largest replaced by `{"digest", "bytes"}` until `excess` bytes are gone."""
    sizes = {name: len(_canonical({"": value})) - 5 for name, value in facts.items()}
    short = dict(facts)
    for name in sorted(sizes, key=lambda key: (-sizes[key], key)):
        if excess <= 0:
            break
        short[name] = {"bytes": sizes[name], "digest": digest(_safe(facts[name]))}
        excess -= sizes[name] - len(_canonical({"": short[name]})) + 5
    return short
