"""What an attempt led to, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from .pace import Answered

ErrorType = Literal["status", "redirect", "timeout", "connection", "dns", "tls", "blocked-address", "interrupted"]
OVERLOADED = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Taken:
    """2xx."""

    status: int


@dataclass(frozen=True, slots=True)
class Failed:
    """detail: for people; of an answer the beginning of its body."""

    error_type: ErrorType
    detail: str
    status: int | None = None
    retry_after: timedelta | None = None


Outcome = Taken | Failed


def judged(status: int, body: str, retry_after: timedelta | None) -> Outcome:
    """2xx only is success; a redirect is never followed."""
    if 200 <= status < 300:
        return Taken(status)
    if 300 <= status < 400:
        return Failed("redirect", f"answered {status}: redirects are not followed, name the final address", status)
    said = f": {body}" if body else ""
    return Failed("status", f"answered {status}{said}"[:2000], status, retry_after)


def answered(outcome: Outcome) -> Answered:
    """What it says of the endpoint's load."""
    match outcome:
        case Taken():
            return "taken"
        case Failed(error_type="timeout"):
            return "overloaded"
        case Failed(status=status):
            return "overloaded" if status in OVERLOADED else "refused"


def is_gone(outcome: Outcome) -> bool:
    """410: the receiver wants nothing more."""
    return isinstance(outcome, Failed) and outcome.status == 410
