"""The way of a command into the inbox."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import pytest
from barecount_chassis import Caller, CommandBus, Keyring, Problem
from barecount_contracts import Message, Position, ReportTaskStarted
from barecount_contracts.pipelines import CancelRun, ReportLedgerFacts

from .conftest import RecordingAppender

OPERATOR = Caller("user:00000000000000aa", "acme", frozenset({"operator"}), "ann")
AUDITOR = Caller("user:00000000000000bb", "acme", frozenset({"auditor"}), "bob")
CANCEL = CancelRun.model_construct(run_id="r1")


@pytest.fixture
def ring(keys: Path) -> Keyring:
    return Keyring(keys, "command")


@pytest.fixture
def bus(ring: Keyring, appender: RecordingAppender) -> CommandBus:
    return CommandBus(appender, ring, inbox="pipelines.commands")


async def refused(bus: CommandBus, caller: Caller, payload: Message, key: str | None = "k") -> Problem:
    with pytest.raises(Problem) as caught:
        await bus.submit(caller, payload, idempotency_key=key)
    return caught.value


async def test_a_caller_without_the_permission_sends_nothing(bus: CommandBus, appender: RecordingAppender) -> None:
    assert (await refused(bus, AUDITOR, CANCEL)).code == "forbidden"
    assert appender.records == []


@pytest.mark.parametrize("key", ["", "x" * 256, "line\nbreak", "schlüssel"])
async def test_an_idempotency_key_that_is_no_header_text_is_refused(bus: CommandBus, key: str) -> None:
    assert (await refused(bus, OPERATOR, CANCEL, key)).code == "invalid-request"


async def test_a_command_larger_than_the_topic_takes_is_refused(bus: CommandBus) -> None:
    assert (await refused(bus, OPERATOR, CancelRun.model_construct(run_id="r" * 1_100_000))).code == "payload-too-large"


async def test_a_broker_that_does_not_acknowledge_in_half_a_second_is_told_with_the_key_to_retry_with(
    bus: CommandBus, appender: RecordingAppender
) -> None:
    appender.hang = True
    began = time.monotonic()
    problem = await refused(bus, OPERATOR, CANCEL, None)
    assert 0.4 < time.monotonic() - began < 1.5
    assert problem.code == "evidence-unavailable"
    assert problem.members["idempotency_key"]


async def test_a_message_of_another_inbox_is_a_mistake_in_the_code(bus: CommandBus) -> None:
    payload = ReportTaskStarted.model_construct()
    with pytest.raises(ValueError, match=r"topics\.yaml"):
        await bus.report(payload, tenant="acme", correlation=uuid4(), key="default", idempotency_key="x")


async def test_the_same_key_of_the_same_caller_is_the_same_command(bus: CommandBus, ring: Keyring, appender: RecordingAppender) -> None:
    first = await bus.submit(OPERATOR, CANCEL, idempotency_key="k")
    again = await bus.submit(OPERATOR, CANCEL, idempotency_key="k")
    other = await bus.submit(OPERATOR, CANCEL, idempotency_key="l")
    assert first.command_id == again.command_id != other.command_id
    assert (first.position, again.position.offset) == (Position(topic="pipelines.commands", partition=0, offset=0), 1)
    topic, key, envelope = appender.records[0]
    assert (topic, key, envelope.correlation) == ("pipelines.commands", "acme", first.command_id)
    assert ring.gate()(envelope, None) is None
    assert "ann" not in envelope.to_bytes().decode()


async def test_what_a_policy_repeats_is_the_same_command_of_the_service(bus: CommandBus, ring: Keyring) -> None:
    source = Position(topic="evidence.ledger", partition=0, offset=9)
    chain = uuid4()
    payload = ReportLedgerFacts.model_construct()
    first = await bus.derive(payload, tenant="acme", source=source, correlation=chain)
    again = await bus.derive(payload, tenant="acme", source=source, correlation=chain)
    second = await bus.derive(payload, tenant="acme", source=source, correlation=chain, index=1)
    assert first.command_id == again.command_id != second.command_id
    assert (first.envelope.source, first.envelope.correlation, first.envelope.principal) == (source, chain, "service:command")
    assert ring.gate()(first.envelope, None) is None


async def test_the_command_of_a_call_is_named_in_its_record(bus: CommandBus) -> None:
    from datetime import UTC, datetime

    from barecount_chassis.scope import Call, begin

    call = Call(uuid4(), datetime.now(UTC), 0.0)
    begin({}, call)
    sent = await bus.submit(OPERATOR, CANCEL, idempotency_key="k")
    assert call.command_id == sent.command_id == call.correlation
