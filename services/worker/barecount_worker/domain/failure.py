"""How a stage can fail: a small closed set. `retriable` is the worker's word on whether another attempt may do better."""

from __future__ import annotations

from enum import StrEnum

from .stage import StageResult


class ErrorType(StrEnum):
    """What went wrong. Data that breaks a promise never gets better by trying again; IO and interrupts may.

    `worker-error` is what nobody foresaw, with its exception's name: a fault of this code, tried again on the chance that it is not.
    """

    SOURCE_MISSING = "source-missing"
    CONTROL_UNREADABLE = "control-unreadable"
    DEAD_LETTER_THRESHOLD = "dead-letter-threshold"
    CONTRACT_VIOLATION = "contract-violation"
    QUALITY_FAILED = "quality-failed"
    RECONCILIATION_FAILED = "reconciliation-failed"
    SQL_FAILED = "sql-failed"
    RESOURCES_EXCEEDED = "resources-exceeded"
    STAGED_INPUT_CHANGED = "staged-input-changed"
    TABLE_SCHEMA_DIFFERS = "table-schema-differs"
    TASK_INVALID = "task-invalid"
    FENCED = "fenced"
    TABLE_BUSY = "table-busy"
    IO_ERROR = "io-error"
    INTERRUPTED = "interrupted"
    WORKER_ERROR = "worker-error"

    @property
    def retriable(self) -> bool:
        return self in _RETRIABLE


_RETRIABLE = frozenset({ErrorType.IO_ERROR, ErrorType.INTERRUPTED, ErrorType.TABLE_BUSY, ErrorType.WORKER_ERROR})


class StageFailed(Exception):
    """A stage that did not do its work; `result` is what it had counted, checked and compared until then."""

    def __init__(self, error_type: ErrorType, message: str, result: StageResult | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.result = result if result is not None else StageResult()

    @property
    def retriable(self) -> bool:
        return self.error_type.retriable
