"""A write that is answered 202 after the wait: no verb says that it was done; each names the command and where to ask, exit code 124."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from barecount_cli.app import app
from barecount_cli.client import Client
from barecount_cli.errors import TIMED_OUT, WaitTimeoutError
from barecount_cli.listening import _deleted, _endpoint
from typer.testing import CliRunner, Result

COMMAND = "0e64b5c2-4d6d-5951-b6d7-86144e553799"
ACCEPTED = {"command_id": COMMAND, "status": "accepted", "links": {"command": f"/commands/{COMMAND}"}}
URL = "http://127.0.0.1:8410/"
REQUEST = {"request_id": "q1", "requested_by": "ann", "requested_at": "then", "run_id": "r1", "data_partition": "d", "plan_digest": "p"}

WRITES = {
    "publishers register": ["publishers", "register", "ci", "--role", "operator"],
    "publishers revoke": ["publishers", "revoke", "ci"],
    "webhooks create": ["webhooks", "create", "https://example.org/"],
    "webhooks rotate": ["webhooks", "rotate", "wh_1"],
    "webhooks redeliver": ["webhooks", "redeliver", "wh_1", "e1"],
    "webhooks enable": ["webhooks", "enable", "wh_1"],
    "webhooks disable": ["webhooks", "disable", "wh_1"],
    "webhooks delete": ["webhooks", "delete", "wh_1"],
    "approve": ["approve", "q1", "--reason", "why"],
    "reject": ["reject", "q1", "--reason", "why"],
    "replay": ["replay", "r1", "--contract-version", "v1", "--partition", "d"],
}
# what each says when it is done
DONE = ("may publish", "nothing more", "see its secret", "rotated", "asked for", "enabled", "disabled", "deleted", "✓")


def undecided(asked: httpx.Request) -> httpx.Response:
    if asked.method != "GET":
        return httpx.Response(202, json=ACCEPTED)
    endpoints = {"items": [{"endpoint_id": "wh_1", "url": URL}]}
    return httpx.Response(200, json=endpoints if asked.url.path == "/webhooks" else REQUEST)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Client:
    """Of an API that takes every command and never tells what became of it; every verb asks by it."""
    made = Client("http://test", "token", patience_seconds=0.0)
    made.http = httpx.Client(transport=httpx.MockTransport(undecided), base_url="http://test")
    monkeypatch.setattr(Client, "of", classmethod(lambda cls, *_, **__: made))
    monkeypatch.setenv("BARECOUNT_STATE_DIR", str(tmp_path))
    return made


def told(*words: str) -> Result:
    return CliRunner().invoke(app, words)


@pytest.mark.parametrize("verb", WRITES)
def test_a_verb_says_of_an_undecided_command_that_it_is_accepted_and_where_to_ask(client: Client, verb: str) -> None:
    answer = told(*WRITES[verb])
    assert answer.exit_code == TIMED_OUT, answer.output
    assert f"the command {COMMAND} is accepted and not decided yet" in answer.stderr
    assert f"barecount api get /commands/{COMMAND}" in answer.stderr
    assert not [said for said in DONE if said in answer.stdout]


@pytest.mark.parametrize("verb", WRITES)
def test_a_program_gets_the_answer_as_it_is_and_the_same_exit_code(client: Client, verb: str) -> None:
    answer = told(*WRITES[verb], "--output", "json")
    shown: dict[str, Any] = json.loads(answer.stdout)
    assert (shown["status"], shown["command_id"], answer.exit_code) == ("accepted", COMMAND, TIMED_OUT)
    assert COMMAND in answer.stderr


def test_a_replay_that_nobody_decided_yet_is_not_followed_to_success(client: Client) -> None:
    assert told(*WRITES["replay"], "--follow").exit_code == TIMED_OUT


def test_any_call_that_waited_in_vain_prints_the_answer_and_ends_so(client: Client) -> None:
    answer = told("api", "post", "/pipelines/p/runs")
    assert (json.loads(answer.stdout), answer.exit_code) == (ACCEPTED, TIMED_OUT)
    assert "not decided yet" in answer.stderr


def test_a_part_of_an_outcome_that_is_not_known_is_not_called_a_mistake(client: Client) -> None:
    answer = told("api", "post", "/pipelines/p/runs", "--field", "event.data.run_id")
    assert (answer.stdout, answer.exit_code) == ("", TIMED_OUT)
    assert "the answer has no" not in answer.stderr
    assert told("api", "post", "/pipelines/p/runs", "--field", "command_id").stdout.strip() == COMMAND


def test_who_does_not_wait_is_content_with_an_accepted_command(client: Client) -> None:
    answer = told("api", "post", "/pipelines/p/runs", "--wait", "0")
    assert (json.loads(answer.stdout), answer.exit_code, answer.stderr) == (ACCEPTED, 0, "")


def test_listening_neither_takes_up_nor_deletes_an_endpoint_by_an_undecided_command(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WaitTimeoutError, match=COMMAND):
        _endpoint(client, URL, {"url": URL})
    with pytest.raises(WaitTimeoutError, match=COMMAND):
        _deleted(client, "/webhooks/wh_1")
    assert "deleted" not in capsys.readouterr().err
