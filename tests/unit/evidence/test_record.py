"""From a source record to a leaf."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from barecount_contracts import (
    ApiCalled,
    Cause,
    CheckResult,
    CommandRefused,
    Envelope,
    EvidenceRecord,
    InputFile,
    Message,
    Position,
    StagedOutput,
    StageMetrics,
    TaskRef,
    TaskSucceeded,
)
from barecount_evidence.domain.record import UNREADABLE, evidence_of, leaf_of
from barecount_transparency import MAX_ENTRY, canonical, digest, loads
from hypothesis import given
from hypothesis import strategies as st

AT = datetime(2025, 10, 5, 6, 0, tzinfo=UTC)
BROKER = datetime(2025, 10, 5, 7, 0, tzinfo=UTC)
ID = UUID("00000000-0000-5000-8000-000000000001")
COMMAND = UUID("00000000-0000-5000-8000-000000000002")
HERE = Position(topic="control.events", partition=1, offset=7)
INBOX = Position(topic="pipelines.commands", partition=1, offset=3)


def envelope(payload: Message, **more: Any) -> Envelope:
    return Envelope(
        id=ID, type=payload.TYPE, version=payload.VERSION, tenant="acme", time=AT, correlation=ID, data=payload.to_data(), **more
    )


def refused() -> CommandRefused:
    return CommandRefused(command_id=COMMAND, command_type="ReplayRun", code="run-not-found", detail="no run x", extra={"secret": 1})


def call(status: int) -> ApiCalled:
    return ApiCalled(
        request_id="r1", service="command", method="POST", route="/pipelines/replay", path="/pipelines/replay", status=status,
        command_id=COMMAND, duration_ms=3, received=AT,
    )  # fmt: skip


def task(**more: Any) -> TaskSucceeded:
    ref = TaskRef(stage="read", data_partition="2025-10-04", attempt=1, nonce="n", worker_id="w1", incarnation="i")
    return TaskSucceeded(run_id="run-1", task=ref, metrics=StageMetrics(records_in=9), **more)


@pytest.mark.parametrize("value", [b"", b"not json", b"[]", b'{"id": 1}', b"\xff\xfe"])
def test_what_cannot_be_read_still_has_a_record_that_names_its_bytes(value: bytes) -> None:
    record = evidence_of(HERE, value, BROKER)
    assert (record.type, record.outcome, record.tenant, record.at) == (UNREADABLE, "failed", "platform", BROKER)
    assert record.digest == f"sha256:{hashlib.sha256(value).hexdigest()}"
    assert record.source == HERE
    assert leaf_of(record)


def test_a_type_of_another_release_has_a_record_without_facts() -> None:
    unknown = Envelope(id=ID, type="PipelinePaused", version=9, tenant="acme", time=AT, correlation=ID, data={"name": "x"})
    record = evidence_of(HERE, unknown.to_bytes(), BROKER)
    assert (record.type, record.version, record.facts, record.subject) == ("PipelinePaused", 9, {}, None)


def test_a_payload_that_does_not_fit_its_type_has_a_record_without_facts() -> None:
    broken = Envelope(id=ID, type="CommandRefused", tenant="acme", time=AT, correlation=ID, data={"name": "x"})
    record = evidence_of(HERE, broken.to_bytes(), BROKER)
    assert (record.type, record.outcome, record.facts) == ("CommandRefused", "refused", {})


def test_a_refusal_keeps_its_code_and_not_its_details() -> None:
    cause = Cause(**INBOX.model_dump(), command_id=COMMAND, source=Position(topic="runs.events", partition=0, offset=5))
    value = envelope(refused(), principal="user:1", cause=cause).to_bytes()
    record = evidence_of(HERE, value, BROKER, "00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    assert record.facts == {"command_type": "ReplayRun", "code": "run-not-found"}
    assert record.subject is not None
    assert (record.subject.kind, record.subject.id) == ("command", str(COMMAND))
    assert (record.principal, record.tenant, record.outcome, record.at) == ("user:1", "acme", "refused", AT)
    assert (record.cause, record.origin, record.command_id) == (INBOX, Position(topic="runs.events", partition=0, offset=5), COMMAND)
    assert record.trace_id == "a" * 32


@pytest.mark.parametrize("header", [None, "", "00-" + "0" * 32 + "-" + "b" * 16 + "-01", "nonsense"])
def test_a_traceparent_that_names_no_trace_is_left_out(header: str | None) -> None:
    assert evidence_of(HERE, envelope(refused()).to_bytes(), BROKER, header).trace_id is None


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "ok"), (202, "ok"), (304, "ok"), (403, "refused"), (409, "refused"), (503, "failed")]
)
def test_a_denied_call_reads_as_refused(status: int, outcome: str) -> None:
    record = evidence_of(HERE, envelope(call(status)).to_bytes(), BROKER)
    assert (record.outcome, record.facts["status"], record.command_id) == (outcome, status, COMMAND)


def test_dotted_facts_and_lists_are_copied_under_their_names() -> None:
    payload = task(
        inputs=(InputFile(path="landing/a.csv", digest="sha256:1", bytes=4),),
        outputs=(StagedOutput(name="rows", files=("f",), records=9, digest="sha256:2"),),
        checks=(CheckResult(name="amount", holds=False, failed_records=2),),
    )
    facts = evidence_of(HERE, envelope(payload).to_bytes(), BROKER).facts
    assert facts["task.stage"] == "read"
    assert facts["metrics.records_in"] == 9
    assert facts["inputs"] == [{"path": "landing/a.csv", "digest": "sha256:1", "bytes": 4}]
    assert facts["checks"][0]["holds"] is False
    assert facts["outputs"] == payload.to_data()["outputs"]


def test_a_leaf_is_canonical_json_that_reads_back_as_the_record() -> None:
    record = evidence_of(HERE, envelope(refused()).to_bytes(), BROKER)
    leaf = leaf_of(record)
    assert canonical(loads(leaf)) == leaf
    assert EvidenceRecord.model_validate(loads(leaf)) == record


def test_facts_too_large_for_a_leaf_give_way_to_their_digest() -> None:
    checks = tuple(CheckResult(name=f"check-{n}", holds=True, detail="x" * 100) for n in range(1000))
    payload = task(checks=checks, inputs=(InputFile(path="a", digest="sha256:1", bytes=4),))
    record = evidence_of(HERE, envelope(payload).to_bytes(), BROKER)
    leaf = leaf_of(record)
    assert len(leaf) <= MAX_ENTRY
    facts = loads(leaf)["facts"]
    assert facts["checks"]["digest"] == digest(record.facts["checks"])
    assert facts["inputs"] == record.facts["inputs"]


def test_numbers_that_other_readers_round_are_written_as_text() -> None:
    payload = task(inputs=(InputFile(path="a", digest="d", bytes=2**60),))
    assert loads(leaf_of(evidence_of(HERE, envelope(payload).to_bytes(), BROKER)))["facts"]["inputs"][0]["bytes"] == str(2**60)


@given(st.binary(max_size=200), st.text(max_size=60))
def test_no_bytes_stop_the_ledger(value: bytes, header: str) -> None:
    leaf = leaf_of(evidence_of(HERE, value, BROKER, header))
    assert canonical(loads(leaf)) == leaf


@given(
    st.dictionaries(
        st.text(max_size=5), st.recursive(st.integers() | st.text(max_size=5) | st.floats(), st.lists, max_leaves=5), max_size=4
    )
)
def test_no_facts_stop_the_ledger(extra: dict[str, Any]) -> None:
    record = evidence_of(HERE, envelope(refused()).to_bytes(), BROKER)
    leaf = leaf_of(record.model_copy(update={"facts": extra}))
    assert canonical(loads(leaf)) == leaf
