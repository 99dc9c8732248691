"""A command of which another process found out digest and signature is read in another way, and decided as without it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from barecount_command.domain import CommandDecider, State
from barecount_contracts import Envelope, command_digest, command_rule, parse
from barecount_eventlog import Proof
from barecount_eventlog.judging import Judge, Judged
from barecount_eventlog.record import Recorded

pytestmark = pytest.mark.unit

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "contracts" / "examples").glob("*.json"))
COMMANDS = [json.loads(path.read_text()) for path in EXAMPLES if command_rule(path.name.partition(".")[0])]


def judged(value: bytes, proof: Proof | None) -> Judged[State]:
    judge = Judge[State](
        inbox="pipelines.commands",
        events="control.events",
        partitions=1,
        decider=CommandDecider(),
        gate=lambda command, asking: None,
        window=timedelta(days=7),
    )
    record = Recorded("pipelines.commands", 0, 5, datetime(2026, 11, 28, tzinfo=UTC), "acme", {}, value, b"acme")
    return judge.judge(judge.initial(), record, proof)


def changed(command: dict[str, Any], **fields: Any) -> bytes:
    return Envelope.model_validate({**command, "tenant": "acme", **fields}).to_bytes()


def values() -> list[bytes]:
    whole = [changed(command) for command in COMMANDS]
    nul = [changed(command, data={**command["data"], "reason": "a\x00b", "name": "a\x00b", "run_id": "a\x00b"}) for command in COMMANDS]
    spaced = [json.dumps(json.loads(value), indent=1).encode() for value in whole]
    wrong = [changed(command, data={"wrong": 1}) for command in COMMANDS]
    return [*whole, *nul, *spaced, *wrong, changed(COMMANDS[0], type="Unheard"), changed(COMMANDS[0], version=9)]


@pytest.mark.parametrize("value", values())
def test_a_proven_command_is_decided_as_one_that_is_not(value: bytes) -> None:
    found = judged(value, Proof(command_digest(parse(value)), True))
    assert found == judged(value, None)


def test_a_text_with_nul_is_refused_however_it_was_read() -> None:
    command = next(one for one in COMMANDS if one["type"] == "StartRun")
    value = changed(command, data={**command["data"], "pipeline": "a\x00b"})
    for proof in (None, Proof(command_digest(parse(value)), True)):
        told = json.loads(judged(value, proof).out[0].value)["data"]
        assert (told["code"], "U+0000" in told["detail"]) == ("invalid-request", True)
