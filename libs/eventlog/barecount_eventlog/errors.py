"""The one error tree of this library."""

from __future__ import annotations

from typing import ClassVar

from barecount_contracts import Position


class EventlogError(Exception):
    """Anything that this library raises by itself."""


class AppendFailed(EventlogError):
    """The broker did not acknowledge a record in time. It may still arrive: send it again under the same id."""


class TopicMissing(EventlogError):
    """A topic does not exist, or this principal may not see it."""


class LogTruncated(EventlogError):
    """The log no longer holds the position from which reading must go on; retention or a restore removed it."""


class LogReplaced(EventlogError):
    """Positions kept outside of the log are not of this log: it was restored from an older copy, or begun anew.

    exit_status: what a process ends with that meets this at its start (chassis.serve); the message is for the operator, whole.
    """

    exit_status: ClassVar[int] = 4


class WriterBroken(EventlogError):
    """A transaction did not end in a known commit. The writer is closed; only a new take-over learns what the log holds."""


class WriterFenced(WriterBroken):
    """Another owner took the transactional ids over, or the broker timed the transaction out."""


class CodeFault(EventlogError):
    """decide, evolve, a gate or a transform raised: a bug in this release. Nothing was skipped; the work stands at `position`."""

    def __init__(self, step: str, position: Position, cause: BaseException) -> None:
        super().__init__(
            f"{step} raised {type(cause).__name__} at {position.topic}/{position.partition}@{position.offset}: {cause}. "
            f"The partition stands still at this record; correct the code and start again."
        )
        self.step, self.position, self.cause = step, position, cause
