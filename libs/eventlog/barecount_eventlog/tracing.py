"""One trace from the HTTP call to the evidence: the command's header continues in its events. Every span of this library is named here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context

from .record import Headers, Recorded

HANDLE: Final = "eventlog.handle"
APPEND: Final = "eventlog.append"
_FIELDS: Final = ("traceparent", "tracestate")

_tracer = trace.get_tracer("barecount.eventlog")


def continued(record: Recorded) -> Headers:
    """The headers that carry on the trace of this inbox record; empty when it has none. One span `eventlog.handle` a command."""
    carrier = carrier_of(record.headers)
    if "traceparent" not in carrier:
        return ()
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
    }
    span = _tracer.start_span(HANDLE, context=propagate.extract(carrier), kind=trace.SpanKind.CONSUMER, attributes=attributes)
    # nothing happens within it here, so that it need not become the current one
    span.end()
    return _told(trace.set_span_in_context(span))


def current() -> Headers:
    """The headers that carry the current span on; empty when there is none."""
    return _told(None)


def _told(context: Context | None) -> Headers:
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    return tuple((name, value.encode()) for name, value in carrier.items())


def carrier_of(headers: Mapping[str, bytes]) -> dict[str, str]:
    """The trace fields of a record's headers. Foreign bytes are no reason to fail: what is not ASCII is left out."""
    found = {}
    for name in _FIELDS:
        value = headers.get(name)
        if value is not None and value.isascii():
            found[name] = value.decode("ascii")
    return found
