"""What is no CloudEvent is told apart, whatever it is."""

from __future__ import annotations

import pytest
from barecount_contracts import CloudEvent, EnvelopeError


@pytest.mark.parametrize("value", [b"", b"\xff", b"[" * 100_000, b"9" * 5_000, b"null"], ids=["none", "bytes", "deep", "long", "null"])
def test_a_value_that_is_no_event_is_malformed(value: bytes) -> None:
    with pytest.raises(EnvelopeError) as refused:
        CloudEvent.of_record({}, value)
    assert refused.value.code == "malformed-record"
