"""What a stage's log tells people: its steps as they happen, and what was counted, checked and compared before its last line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from barecount_worker.domain.failure import ErrorType
from barecount_worker.domain.stage import DeadLetter, StageResult

Tell = Callable[[str, str, dict[str, Any]], None]
LINES_PER_ERROR_TYPE = 20
_LAST = frozenset({"stage-succeeded", "stage-failed"})


class Narrator:
    """Stands between a stage and the log. The stage's last line is held until `end`, so that the figures come before it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._dead: Counter[str] = Counter()
        self._last: tuple[str, str, dict[str, Any]] | None = None

    def log(self, level: str, event: str, **fields: object) -> None:
        if event in _LAST:
            self._last = level, event, dict(fields)
        elif event == "record-dead-lettered":
            # the dead letters themselves are in the DLQ; a log with a line for each of them would hide the rest
            if self._dead[str(fields.get("error_type"))] <= LINES_PER_ERROR_TYPE:
                self._tell(level, event, dict(fields))
        elif event != "reconciled":
            self._tell(level, event, dict(fields))

    def dead_letter(self, letter: DeadLetter) -> None:
        self._dead[letter.error_type] += 1

    def end(self, result: StageResult) -> None:
        """The figures, then the stage's last line."""
        for error_type, count in sorted(self._dead.items()):
            self._tell("warning", "records-dead-lettered", {"error_type": error_type, "count": count})
        for check in result.checks:
            said: dict[str, Any] = {"name": check.name, "holds": check.holds, "failed_records": check.failed_records}
            if check.detail:
                said["detail"] = check.detail
            self._tell("debug" if check.holds else "error", "checked", said if check.holds else {**said, "error_type": "check-failed"})
        if result.checks:
            self._tell("info", "checks-held", {"held": sum(one.holds for one in result.checks), "of": len(result.checks)})
        for one in result.reconciliations:
            said = {"name": one.name, "expected": one.expected, "actual": one.actual, "difference": one.difference, "holds": one.holds}
            if not one.holds:
                said["error_type"] = ErrorType.RECONCILIATION_FAILED.value
            self._tell("info" if one.holds else "error", "reconciled", said)
        if self._last is not None:
            level, event, fields = self._last
            figures = result.metrics.model_dump(include={"records_in", "records_out", "dead_lettered", "duration_ms"})
            self._tell(level, event, {**fields, **figures})
