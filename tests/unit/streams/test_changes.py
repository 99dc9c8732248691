"""Which records become public changes, and what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from barecount_contracts import CHANGES, READ_ACTIONS, CloudEvent, Envelope, Position, catalogue, event_id, parse
from barecount_streams.domain.changes import ATTEMPTS, CONTROL, RUNS, SOURCES, change_of, kind_of
from barecount_streams.domain.known import Known, read_from

EXAMPLES = Path(__file__).resolve().parents[3] / "contracts" / "examples"
LISTED = [(topic, name) for topic in SOURCES for name in catalogue().topics[topic].payloads]
PUBLIC = {f"{payload}.v1": public for public, (payload, _) in CHANGES.items()}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def example(name: str) -> Envelope:
    return parse((EXAMPLES / f"{name}.json").read_bytes())


def changed(topic: str, name: str, known: Known | None = None, offset: int = 41) -> tuple[Known, CloudEvent | None]:
    return change_of(known or Known(), example(name), Position(topic=topic, partition=2, offset=offset), TRACE)


@pytest.mark.parametrize(("topic", "name"), LISTED, ids=[f"{topic}:{name}" for topic, name in LISTED])
def test_each_listed_type_becomes_its_public_type_and_nothing_else_becomes_any(topic: str, name: str) -> None:
    expected = PUBLIC.get(name) if (topic, name) != (RUNS, "CommandRefused.v1") else None
    _, change = changed(topic, name)
    assert (change.type if change else None) == expected
    if change is None:
        return
    data = change.change()
    source = example(name)
    assert change.id == str(event_id(topic, 2, 41, 0)), "two derivations of one record are one event"
    assert (change.source, change.subject) == (f"/tenants/{source.tenant}/{kind_of(change.type)}s", data.id)
    assert (change.time, change.tenant, change.traceparent) == (source.time, source.tenant, TRACE)
    assert (data.correlation, data.source) == (source.correlation, Position(topic=topic, partition=2, offset=41))
    assert data.summary
    assert "{" not in data.summary


def test_every_public_type_comes_from_one_of_the_three_logs() -> None:
    assert {public for topic, name in LISTED if (public := PUBLIC.get(name))} == set(CHANGES)


def test_every_public_type_has_a_read_action() -> None:
    assert {kind_of(public) for public in CHANGES} == set(READ_ACTIONS)


def test_a_change_reads_back_from_its_kafka_record() -> None:
    _, change = changed(RUNS, "RunFailed.v1")
    assert change is not None
    assert CloudEvent.of_record(dict(change.headers()), change.value()) == change
    assert json.loads(change.value()) == change.data


def test_a_task_carries_what_the_plan_of_its_open_run_says() -> None:
    known, _ = changed(RUNS, "RunQueued.v1", offset=1)
    known, change = changed(RUNS, "TaskFailed.v1", known)
    assert change is not None
    data = change.change()
    assert (data.pipeline, data.environment, data.data_partitions) == ("revenue-kpi", "prod", ("2025-10-04",))
    assert data.failure is not None
    assert (data.failure.error_type, data.failure.stage) == ("reconciliation-failed", "publish")


def test_a_run_is_forgotten_with_its_end_and_another_tenants_run_of_that_name_is_not() -> None:
    known, _ = changed(RUNS, "RunQueued.v1", offset=1)
    queued = example("RunQueued.v1").model_copy(update={"tenant": "globex"})
    known, _ = change_of(known, queued, Position(topic=RUNS, partition=2, offset=2))
    failed = example("RunFailed.v1").model_copy(update={"tenant": "globex"})
    assert failed.data["run_id"] == queued.data["run_id"]
    known, _ = change_of(known, failed, Position(topic=RUNS, partition=2, offset=3))
    assert [tenant for tenant, _ in known.runs] == ["acme"]


def test_a_take_over_reads_from_the_oldest_open_run_and_request() -> None:
    known, _ = changed(RUNS, "RunQueued.v1", offset=7)
    known, _ = changed(CONTROL, "ApprovalRequested.v1", known, offset=5)
    positions = {(RUNS, 2): 40, (CONTROL, 2): 30, (ATTEMPTS, 0): 9}
    assert read_from(known, positions) == {(RUNS, 2): 7, (CONTROL, 2): 5, (ATTEMPTS, 0): 9}
    known, _ = changed(CONTROL, "ApprovalRejected.v1", known)
    assert read_from(known, positions)[CONTROL, 2] == 30


def test_a_rejection_names_the_pipeline_that_its_request_named() -> None:
    known, _ = changed(CONTROL, "ApprovalRequested.v1")
    request = example("ApprovalRequested.v1").data["request_id"]
    rejected = example("ApprovalRejected.v1")
    rejected = rejected.model_copy(update={"data": {**rejected.data, "request_id": request}})
    _, change = change_of(known, rejected, Position(topic=CONTROL, partition=2, offset=9))
    assert change is not None
    assert change.change().pipeline == "revenue-kpi"


def test_a_payload_of_a_later_release_tells_nothing_and_stops_nothing() -> None:
    later = example("RunStarted.v1").model_copy(update={"version": 99})
    assert change_of(Known(), later, Position(topic=RUNS, partition=0, offset=0)) == (Known(), None)


def test_no_change_of_a_webhook_names_its_address() -> None:
    for name in ("WebhookCreated.v1", "WebhookUpdated.v1"):
        _, change = changed(CONTROL, name)
        assert change is not None
        assert example(name).data["url"] not in change.value().decode()
