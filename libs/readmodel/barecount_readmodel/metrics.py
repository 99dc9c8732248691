"""Every metric of this library, one list for an operator."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_RECORDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

LAG = Gauge("barecount_projector_lag_records", "Records not projected yet", ["service", "topic", "partition"])
APPLIED = Counter("barecount_projector_records_total", "Records projected", ["service", "topic"])
BATCH = Histogram("barecount_projector_batch_records", "Records in one transaction", ["service", "topic"], buckets=_RECORDS)
APPLY_SECONDS = Histogram("barecount_projector_apply_seconds", "One batch, begin to commit", ["service", "topic"], buckets=_SECONDS)
PARKED = Counter("barecount_projector_parked_total", "Records that cannot be read, kept in projection_errors", ["service", "topic", "code"])
PARKED_EVER = Gauge("barecount_projector_parked_records", "Records in projection_errors", ["service", "topic", "code"])
STANDING = Gauge("barecount_projector_standing", "1: a partition stands at an error and is tried again", ["service", "topic", "partition"])
WAIT_SECONDS = Histogram("barecount_read_your_writes_seconds", "Waits for a consistency token", ["service"], buckets=_SECONDS)
WAIT_FAILED = Counter("barecount_read_your_writes_failed_total", "Waits that ended without the position", ["service"])
