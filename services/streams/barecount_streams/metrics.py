"""Every metric of this service, one list for an operator."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

DERIVED = Counter("barecount_changes_derived", "Changes prepared for state.changes, by public type", ["type"])
UNREADABLE = Counter("barecount_changes_unreadable", "Records that tell no change because nobody can read them", ["topic"])

CLIENTS = Gauge("barecount_stream_clients", "Streams open now", ["transport"])
SENT = Counter("barecount_stream_events", "Changes sent to clients", ["transport"])
ENDED = Counter("barecount_stream_ended", "Streams ended by this side: slow, expired, stopping", ["transport", "reason"])
REFUSED = Counter("barecount_stream_refused", "Streams refused because their principal has too many")
GAPS = Counter("barecount_stream_gaps", "Positions that the log no longer has: retention, generation, log-replaced", ["reason"])
CATCH_UPS = Counter("barecount_stream_catch_ups", "Clients behind the buffer, served from the log")
CATCHING_UP = Gauge("barecount_stream_catching_up", "Clients served from the log now")
BUFFERED = Gauge("barecount_stream_buffered_records", "Changes held for clients", ["partition"])
BUFFERED_BYTES = Gauge("barecount_stream_buffered_bytes", "Their size", ["partition"])
