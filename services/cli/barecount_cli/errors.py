"""How the CLI says that something went wrong, and with which exit code.

Exit codes: 0 done, 1 failed here, 3 the run failed, 4 it was cancelled, 5 the API refused, 64 usage, 124 the wait timed out: so it is, too,
when a command is accepted and not decided yet (the API's 202).
"""

from __future__ import annotations

from typing import Any

FAILED, RUN_FAILED, RUN_CANCELLED, REFUSED, USAGE, TIMED_OUT = 1, 3, 4, 5, 64, 124


class CliError(Exception):
    """Something that the person at the terminal can act on: what happened, and what to do now."""

    exit_code = FAILED

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


class ProblemError(CliError):
    """The API answered with a problem document (RFC 9457)."""

    exit_code = REFUSED

    def __init__(self, document: dict[str, Any], status: int) -> None:
        self.document, self.status = document, status
        self.code = str(document.get("code", "unknown"))
        super().__init__(
            f"{self.code} ({status}): {document.get('detail') or document.get('title') or 'no detail'}", str(document.get("remedy", ""))
        )


class WaitTimeoutError(CliError):
    exit_code = TIMED_OUT
