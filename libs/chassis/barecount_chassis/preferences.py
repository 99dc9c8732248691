"""What a caller may say beside the request: Idempotency-Key, Prefer: wait, X-Consistency-Token."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Depends, Header, Request

MAX_WAIT_SECONDS: Final = 30.0

IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=255, description="The same key and body are the same command, for 7 days"),
]
ConsistencyToken = Annotated[
    str | None,
    Header(alias="X-Consistency-Token", max_length=4096, description="Of an earlier answer: the read waits until it includes that write"),
]


async def prefer_wait(request: Request) -> float | None:
    """Seconds of `Prefer: wait=N` (RFC 7240 §4.3), at most 30; None when the caller does not ask to wait.

    A preference that cannot be read is ignored, as RFC 7240 §2 wants.
    """
    for header in request.headers.getlist("prefer"):
        for preference in header.split(","):
            found = re.fullmatch(r'\s*wait\s*=\s*"?(\d{1,9}(?:\.\d+)?)"?\s*(?:;.*)?', preference, re.IGNORECASE)
            if found:
                return min(float(found[1]), MAX_WAIT_SECONDS)
    return None


PreferWait = Annotated[float | None, Depends(prefer_wait)]
