"""What `barecount status` makes of a service's own word."""

from __future__ import annotations

import json

import pytest
from barecount_eventlog import metrics as eventlog
from barecount_local.status import _parked, _rejected, _why_not
from barecount_readmodel import metrics as readmodel
from prometheus_client import generate_latest


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


@pytest.mark.unit
def test_parked_and_rejected_records_are_read_from_the_metrics_that_the_libraries_serve() -> None:
    # words of this test's own: services that other tests run in this process count in the same registry
    eventlog.HANDLER_OWNED.labels("command", "pipelines.commands", 0).set(1)
    for partition in (0, 1):
        eventlog.HANDLER_REJECTED_EVER.labels("command", "pipelines.commands", partition, "malformed-here").set(2)
    readmodel.PARKED_EVER.labels("execution", "logs.here", "unknown-type").set(4)
    text = generate_latest().decode()
    rejected, parked = _rejected(text), _parked(text)
    assert rejected is not None
    assert rejected["malformed-here"] == 4
    assert parked is not None
    assert parked["logs.here"] == {"unknown-type": 4}
    assert _rejected("# nothing\n") is None
    assert _parked("") is None
