"""What `barecount status` makes of a service's own word."""

from __future__ import annotations

import json

import pytest
from barecount_local.status import _why_not


@pytest.mark.unit
@pytest.mark.parametrize(
    ("states", "shown"), [(["ready", "starting"], "starting"), (["failed", "ready"], "failed"), (["ready"], "starting"), ([], "starting")]
)
def test_a_part_that_waits_for_a_person_is_told_from_one_that_needs_time(states: list[str], shown: str) -> None:
    checks = {f"part-{number}": {"state": state} for number, state in enumerate(states)}
    assert _why_not(json.dumps({"ready": False, "checks": checks}).encode()) == shown


@pytest.mark.unit
@pytest.mark.parametrize("body", [b"", b"[]", b'{"checks": 3}', b'{"checks": {"a": 1}}'])
def test_a_body_that_is_none_of_ours_breaks_nothing(body: bytes) -> None:
    assert _why_not(body) == "starting"
