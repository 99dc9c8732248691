"""The CLI's client while the read model is away: an accepted command is asked for again under its key, and never sent as another."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from barecount_cli.app import as_it_was
from barecount_cli.client import Client
from barecount_cli.errors import TIMED_OUT, ProblemError, WaitTimeoutError
from barecount_cli.writing import decided

COMMAND = "0e64b5c2-4d6d-5951-b6d7-86144e553799"
ACCEPTED = {"command_id": COMMAND, "status": "accepted", "links": {"command": f"/commands/{COMMAND}"}}
ADMITTED = {**ACCEPTED, "status": "admitted", "event": {"type": "WebhookCreated", "data": {"endpoint_id": "wh_1"}}}
EXISTS = {"code": "pipeline-exists", "detail": "there is one", "remedy": "Update it."}


def client_of(*answers: tuple[int, dict[str, Any]], patience: float = 5.0) -> tuple[Client, list[httpx.Request]]:
    """A client of a server that answers so, the last answer for ever; and what it was asked."""
    asked, left = list[httpx.Request](), list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        status, body = left.pop(0) if len(left) > 1 else left[0]
        return httpx.Response(status, json=body)

    client = Client("http://test", "token", patience_seconds=patience)
    client.http = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://test")
    return client, asked


def test_a_write_that_is_accepted_and_not_told_is_asked_for_again_under_its_key() -> None:
    client, asked = client_of((202, ACCEPTED), (503, {"code": "service-unavailable"}), (202, ACCEPTED), (201, ADMITTED))
    assert decided(client.write("POST", "/webhooks", {"url": "https://example.org"})) == {"endpoint_id": "wh_1"}
    assert len(asked) == 4
    assert len({(one.method, one.url, one.content, one.headers["Idempotency-Key"], one.headers["Prefer"]) for one in asked}) == 1


def test_a_refusal_that_comes_to_be_known_is_the_answer() -> None:
    client, _ = client_of((202, ACCEPTED), (409, EXISTS))
    with pytest.raises(ProblemError, match="pipeline-exists"):
        client.write("POST", "/pipelines", {})


def test_who_does_not_wait_is_answered_once() -> None:
    client, asked = client_of((202, ACCEPTED))
    assert client.write("POST", "/pipelines", {}, wait=None) == ACCEPTED
    assert len(asked) == 1


def test_a_command_that_stays_undecided_is_named_with_where_to_look() -> None:
    client, _ = client_of((202, ACCEPTED), patience=0.0)
    with pytest.raises(WaitTimeoutError, match=COMMAND) as late:
        decided(client.write("POST", "/webhooks", {}))
    assert (late.value.exit_code, f"/commands/{COMMAND}" in late.value.remedy) == (TIMED_OUT, True)


def test_a_thing_that_was_not_there_at_a_moment_is_said_to_have_been_missing_then() -> None:
    nothing = {"code": "run-not-found", "detail": "there is no run of this id", "remedy": "GET /runs lists the runs of your tenant."}
    client, asked = client_of((404, nothing))
    with pytest.raises(ProblemError) as then:
        as_it_was(client, "/runs/r1", "2020-01-01T00:00:00+01:00")
    assert then.value.remedy.startswith("As of 2020-01-01T00:00:00+01:00 there was none of that name: give a later moment")
    assert (then.value.exit_code, asked[0].url.params["as_of"]) == (5, "2020-01-01T00:00:00+01:00"), "the + is escaped"
    with pytest.raises(ProblemError) as now:
        as_it_was(client, "/runs/r1", None)
    assert now.value.remedy == nothing["remedy"]
