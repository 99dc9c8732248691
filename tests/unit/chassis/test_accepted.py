"""A command that the broker has acknowledged is decided, whatever its caller is answered: the answer says so, and under which id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

import httpx
import pytest
from barecount_chassis import Caller, CommandBus, IdempotencyKey, Keyring, Settings, create_app, require
from barecount_contracts import CancelRun, Envelope, Position
from fastapi import APIRouter

from .conftest import RecordingAppender, running

Token = Callable[..., str]


class AwayError(Exception):
    """Stands for what a database's client raises when the server is gone."""


class Choosing(RecordingAppender):
    """Acknowledges everything but the topics in `lost`."""

    def __init__(self, *lost: str) -> None:
        super().__init__()
        self._lost = lost

    async def append(self, topic: str, key: str, envelope: Envelope) -> Position:
        if topic in self._lost:
            raise ConnectionError("broker gone")
        return await super().append(topic, key, envelope)


async def cancel(
    settings: Settings, token: Token, appender: Choosing, ends_with: Exception | None = None, **headers: str
) -> httpx.Response:
    """What a caller is answered whose route appends a command and then ends so."""
    bus, router = CommandBus(appender, Keyring(settings.keys, "command"), inbox="pipelines.commands"), APIRouter()

    @router.post("/cancel", status_code=202)
    async def route(caller: Annotated[Caller, require("runs:cancel")], key: IdempotencyKey = None) -> None:
        await bus.submit(caller, CancelRun(run_id="r1", reason="no"), idempotency_key=key)
        if ends_with is not None:
            raise ends_with

    app = create_app(settings, title="Test", routers=[router], appender=appender, unreachable=[AwayError])
    async with running(app) as client:
        return await client.post("/cancel", headers={"Authorization": token(), **headers})


@pytest.mark.parametrize("key", [None, "mine"])
@pytest.mark.parametrize(
    ("ends_with", "lost", "status", "code"),
    [
        (AwayError("cut"), (), 503, "outcome-pending"),
        (RuntimeError("a bug"), (), 500, "internal-error"),
        (None, ("api.calls",), 503, "evidence-unavailable"),
    ],
    ids=["the read model is away", "a bug", "the call is not recorded"],
)
async def test_whoever_is_refused_after_the_append_is_told_the_command_and_the_key_to_ask_again_with(
    settings: Settings, token: Token, key: str | None, ends_with: Exception | None, lost: tuple[str, ...], status: int, code: str
) -> None:
    appender = Choosing(*lost)
    answer = await cancel(settings, token, appender, ends_with, **({"Idempotency-Key": key} if key else {}))
    (command,) = (envelope for topic, _, envelope in appender.records if topic == "pipelines.commands")
    problem = answer.json()
    assert (answer.status_code, problem["code"], UUID(problem["command_id"])) == (status, code, command.id)
    assert "nothing was changed" not in problem["detail"]
    if code == "outcome-pending":
        assert answer.headers["Location"] == f"/commands/{command.id}"
        assert f"{command.id} is accepted" in problem["detail"]
    again = Choosing()
    await cancel(settings, token, again, **{"Idempotency-Key": problem["idempotency_key"]})
    assert again.records[0][2].id == command.id, "the key that was told makes it the same command"


async def test_a_command_that_the_broker_did_not_take_is_not_told_as_accepted(settings: Settings, token: Token) -> None:
    answer = await cancel(settings, token, Choosing("pipelines.commands"))
    assert answer.status_code >= 500
    assert "command_id" not in answer.json()
