"""Whatever a record holds, its answer is small enough for the log: an answer that the broker refuses would stop the partition."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from barecount_eventlog import Recorded
from barecount_eventlog.judging import Judge

from tests.integration.eventlog.counter import Counter, add, gate

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG = 900_000
GOOD = add(1).to_bytes()


def judged(value: bytes, key: bytes | None = b"acme", limit: int = 1_048_576) -> tuple[str, int]:
    """(code, size of the largest answer in bytes)."""
    judge = Judge(inbox="in", events="out", partitions=1, decider=Counter(), gate=gate, window=timedelta(days=7), max_record_bytes=limit)
    found = judge.judge(judge.initial(), Recorded("in", 0, 0, NOW, "", {}, value, key))
    assert found.outcome == "RecordRejected"
    return found.refused or "", max(one.size for one in found.out)


@pytest.mark.parametrize("value", [b"x" * 5_000_000, b"{" + b" " * 5_000_000])
def test_a_record_of_five_megabytes_is_answered_unread(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barecount_eventlog.record.parse", lambda value: pytest.fail("it was read"))
    code, size = judged(value)
    assert (code, size < 5_000) == ("oversized-record", True)


def test_a_key_of_megabytes_does_not_come_back() -> None:
    code, size = judged(GOOD, b"k" * LONG)
    assert (code, size < 5_000) == ("malformed-record", True)
    code, size = judged(GOOD, b"k" * 5_000_000)
    assert (code, size < 5_000) == ("oversized-record", True)


def test_a_name_of_megabytes_does_not_come_back() -> None:
    told = json.loads(GOOD)
    for changed, expected in (
        ({"n" * LONG: 1}, "malformed-record"),
        ({"type": "T" * LONG}, "unknown-type"),
        ({"data": {"d" * LONG: 1, "number": 1}}, "invalid-payload"),
    ):
        code, size = judged(json.dumps({**told, **changed}).encode())
        assert (code, size < 20_000) == (expected, True), f"{expected}: the answer has {size} bytes"


@pytest.mark.parametrize("number", [2**53, 2**60, -(10**30)])
def test_a_number_that_has_no_digest_is_answered_and_does_not_stop_the_partition(number: int) -> None:
    """RFC 8785 holds no integer beyond 2^53: the gate and the idempotency check both want a digest."""
    told = json.loads(GOOD)
    code, size = judged(json.dumps({**told, "data": {**told["data"], "number": number}}).encode())
    assert (code, size < 5_000) == ("malformed-record", True)
