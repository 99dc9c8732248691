"""Every metric of this library, one list for an operator."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_RECORDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

HANDLER_LAG = Gauge("barecount_handler_lag_records", "Inbox records without an outcome yet", ["service", "inbox", "partition"])
HANDLER_OWNED = Gauge(
    "barecount_handler_owned", "1: this process owns the partition and has restored it", ["service", "inbox", "partition"]
)
HANDLER_BATCH = Histogram("barecount_handler_batch_records", "Inbox records in one transaction", ["service", "inbox"], buckets=_RECORDS)
HANDLER_OUTCOMES = Counter("barecount_handler_outcomes_total", "Outcomes by type", ["service", "inbox", "type"])
HANDLER_REFUSED = Counter("barecount_handler_refused_total", "Rejected records and refused commands by code", ["service", "inbox", "code"])
HANDLER_REJECTED = Counter(
    "barecount_handler_rejected_total", "Inbox records that were let in by nobody, by code", ["service", "inbox", "code"]
)
HANDLER_REJECTED_EVER = Gauge(
    "barecount_handler_rejected_records", "Inbox records let in by nobody since the log began", ["service", "inbox", "partition", "code"]
)
HANDLER_TAKEOVERS = Counter("barecount_handler_takeovers_total", "Take-overs by what made them necessary", ["service", "inbox", "reason"])
HANDLER_RESTORE = Histogram("barecount_handler_restore_seconds", "Take-over until reading", ["service", "inbox"], buckets=_SECONDS)
HANDLER_TICKS = Counter("barecount_handler_ticks_total", "Ticks appended by the owner", ["service", "inbox"])
HANDLER_FAULTS = Counter("barecount_handler_faults_total", "Partitions stopped by a bug in this release", ["service", "inbox", "step"])
SNAPSHOT_BYTES = Gauge("barecount_handler_snapshot_bytes", "Size of the newest snapshot", ["service", "inbox", "partition"])

TRANSACTION_SECONDS = Histogram("barecount_transaction_seconds", "Begin to commit of one Kafka transaction", ["writer"], buckets=_SECONDS)
TRANSACTION_BROKEN = Counter("barecount_transaction_broken_total", "Transactions without a known commit, by error", ["writer", "error"])

NOT_ENOUGH_REPLICAS = Counter(
    "barecount_produce_retried_total",
    "Produce requests that the broker put off while a transaction begins (NOT_ENOUGH_REPLICAS); none is lost",
)

APPENDED = Counter("barecount_appended_total", "Records acknowledged", ["client", "topic"])
APPEND_SECONDS = Histogram("barecount_append_seconds", "Append until acknowledged", ["client", "topic"], buckets=_SECONDS)
APPEND_FAILED = Counter("barecount_append_failed_total", "Appends without an acknowledgement in time", ["client", "topic"])

DERIVER_LAG = Gauge("barecount_deriver_lag_records", "Source records not derived from yet", ["service", "name", "topic"])
DERIVER_BATCH = Histogram("barecount_deriver_batch_records", "Source records in one transaction", ["service", "name"], buckets=_RECORDS)
DERIVER_FAULTS = Counter("barecount_deriver_faults_total", "Transforms that raised", ["service", "name"])
