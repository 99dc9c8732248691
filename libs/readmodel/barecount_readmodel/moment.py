"""`as_of`: which moment of the log a question is about, an instant or positions. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from aiokafka import TopicPartition

from .errors import AsOfError

LONGEST: Final = 2048
# RFC 3339 §5.6; a fraction beyond microseconds is cut, times of the log are milliseconds
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+\- ]\d\d:\d\d)?")
_POSITION: Final = re.compile(r"([a-z][a-z0-9._-]{0,99})/(\d{1,6})@(-1|\d{1,18})")


@dataclass(frozen=True, slots=True)
class Instant:
    """Everything that was asked for up to and including this time (UTC)."""

    time: datetime


@dataclass(frozen=True, slots=True)
class Positions:
    """The state after the record at each of these offsets; -1: before the partition's first record."""

    offsets: Mapping[TopicPartition, int]


Moment: TypeAlias = Instant | Positions


def parse_moment(text: str) -> Moment:
    """`2026-11-25T10:00:00Z` or `control.events/1@57`, several positions with commas. Raises: AsOfError `as-of-malformed`."""
    if len(text) > LONGEST:
        raise AsOfError("as-of-malformed", f"as_of has {len(text)} characters; at most {LONGEST} are read")
    return Positions(_positions(text)) if "@" in text or "/" in text else Instant(_time(text))


def told(offsets: Mapping[TopicPartition, int]) -> str:
    """The positions as `parse_moment` reads them, in order."""
    return ",".join(f"{where.topic}/{where.partition}@{offset}" for where, offset in sorted(offsets.items()))


def _positions(text: str) -> dict[TopicPartition, int]:
    found: dict[TopicPartition, int] = {}
    for part in text.split(","):
        read = _POSITION.fullmatch(part.strip())
        if read is None:
            raise AsOfError("as-of-malformed", f"{part.strip()[:100]!r} is no position; one is written topic/partition@offset")
        where = TopicPartition(read[1], int(read[2]))
        if where in found:
            raise AsOfError("as-of-malformed", f"{where.topic}/{where.partition} is named twice")
        found[where] = int(read[3])
    return found


def _time(text: str) -> datetime:
    read = _TIME.fullmatch(text.strip())
    if read is None:
        raise AsOfError("as-of-malformed", f"{text[:100]!r} is neither a time (RFC 3339) nor a position of the log")
    day, clock, fraction, zone = read.groups()
    if zone is None:
        raise AsOfError("as-of-malformed", f"the time {text[:100]!r} names no zone; end it with Z for UTC, or with an offset as +01:00")
    # a + that was not escaped in a URL arrives as a space
    zone = "+00:00" if zone in "Zz" else zone.replace(" ", "+")
    try:
        return datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{zone}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise AsOfError("as-of-malformed", f"{text[:100]!r} is no time that exists: {error}") from error
