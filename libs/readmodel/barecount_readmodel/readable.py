"""What a view may meet: records that parse, and whose words PostgreSQL holds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from barecount_eventlog import Recorded

ESCAPED_NUL: Final = b"\\u0000"
# an even number of backslashes before it escapes itself
_NUL: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def readable(record: Recorded) -> Recorded:
    """The record with its payload read; a NUL in its words is U+FFFD, because PostgreSQL text holds none. `value` stays as it is.

    Raises: EnvelopeError.
    """
    if ESCAPED_NUL not in record.value or record.is_cloud_event:
        record.payload  # noqa: B018 read once here, so that no view meets a record that cannot be read
        return record
    cleaned = replace(record, value=_NUL.sub(rb"\1\\ufffd", record.value))
    kept = replace(record)
    for name, read in (("_envelope", cleaned.envelope), ("_payload", cleaned.payload)):
        object.__setattr__(kept, name, read)
    return kept
