"""Every span, metric and log event of the worker by name."""

from __future__ import annotations

from typing import Final

from barecount_chassis.telemetry import REGISTRY, extract, logger, tracer
from prometheus_client import Counter, Gauge, Histogram

__all__ = ["REGISTRY", "extract", "logger", "tracer"]

# --- spans ------------------------------------------------------------------------------------------------------------------
SPAN_TASK: Final = "runs.tasks process"  # one attempt, from its record to its acknowledged final report

# --- log events of the process; what stages say goes to run.logs ----------------------------------------------------------------
ANNOUNCED: Final = "worker.announced"
TASK_TAKEN: Final = "worker.task_taken"
TASK_ENDED: Final = "worker.task_ended"
TASK_FAILED: Final = "worker.task_failed"  # by an error that no stage foresees
TASK_INTERRUPTED: Final = "worker.task_interrupted"
RECORD_SKIPPED: Final = "worker.record_skipped"  # not readable by this release, or no payload of runs.tasks
REPORT_RETRY: Final = "worker.report_retry"  # the broker did not acknowledge; the same record is sent again
SLOT_STARTED: Final = "worker.slot_started"
SLOT_ENDED: Final = "worker.slot_ended"
SLOT_KILLED: Final = "worker.slot_killed"  # it did not stop when it was asked
FAILED: Final = "worker.failed"  # the process ends, to be started again

# --- metrics ------------------------------------------------------------------------------------------------------------------
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
TASKS: Final = Counter("barecount_worker_tasks", "Attempts by how they ended", ["stage", "outcome"], registry=REGISTRY)
BUSY: Final = Gauge("barecount_worker_busy_slots", "Slots with an attempt", registry=REGISTRY)
SLOTS: Final = Gauge("barecount_worker_slots", "Slots in all", registry=REGISTRY)
STAGE_SECONDS: Final = Histogram(
    "barecount_worker_stage_seconds",
    "From the task's arrival until its final report is acknowledged",
    ["stage"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
SKIPPED: Final = Counter("barecount_worker_skipped", "Records of runs.tasks that cannot be read", ["code"], registry=REGISTRY)
DEAD_LETTERED: Final = Counter("barecount_worker_dead_lettered", "Records set aside", ["error_type"], registry=REGISTRY)
SLOT_CRASHES: Final = Counter(
    "barecount_worker_slot_crashes", "Slot processes that ended by themselves during an attempt", registry=REGISTRY
)
RESENT: Final = Counter("barecount_worker_resent", "Records sent again for want of an acknowledgement", ["topic"], registry=REGISTRY)
