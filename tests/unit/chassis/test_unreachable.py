"""A read model that is away for a moment is no bug: the caller is told to come again."""

from __future__ import annotations

from barecount_chassis import problems
from fastapi import FastAPI
from fastapi.testclient import TestClient


class AwayError(Exception):
    """Stands for what a database's client raises when the server is gone."""


def test_a_read_model_that_is_away_answers_503_with_when_to_come_again() -> None:
    app = FastAPI()
    problems.install(app, unreachable=[AwayError])

    @app.get("/runs")
    async def runs() -> None:
        raise AwayError("connection was closed in the middle of operation")

    answer = TestClient(app, raise_server_exceptions=False).get("/runs")
    assert (answer.status_code, answer.json()["code"]) == (503, "service-unavailable")
    assert answer.headers["retry-after"] == "1"
    assert "connection" not in answer.json()["detail"], "internals stay in the log"
