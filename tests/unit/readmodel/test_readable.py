"""A NUL in a word is no reason for a projection to stand still: PostgreSQL text holds none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from barecount_contracts import EnvelopeError, RunLogged
from barecount_eventlog import Recorded
from barecount_readmodel.readable import readable

EXAMPLE = json.loads((Path(__file__).resolve().parents[3] / "contracts" / "examples" / "RunLogged.v1.json").read_text())


def record(value: bytes) -> Recorded:
    return Recorded("run.logs", 0, 0, datetime.now(UTC), "run", {}, value)


def said(event: str) -> tuple[Recorded, Any]:
    made = record(json.dumps({**EXAMPLE, "data": {**EXAMPLE["data"], "event": event}}).encode())
    read = readable(made)
    assert isinstance(read.payload, RunLogged)
    return made, read


@pytest.mark.parametrize(
    ("word", "read"),
    [("a\x00b", "a\ufffdb"), ("\x00\x00", "\ufffd\ufffd"), (r"a\u0000b", r"a\u0000b"), ("\\\x00", "\\\ufffd"), ("plain", "plain")],
)
def test_a_nul_is_read_as_the_replacement_character_and_written_backslashes_stay(word: str, read: str) -> None:
    made, found = said(word)
    assert found.payload.event == read
    assert found.envelope.payload() == found.payload
    assert found.value == made.value, "what was written is not changed"


def test_a_record_that_cannot_be_read_is_told_apart() -> None:
    with pytest.raises(EnvelopeError):
        readable(record(b'{"x": "\\u0000"}'))
