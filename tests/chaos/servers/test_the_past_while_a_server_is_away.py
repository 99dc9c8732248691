"""Questions about the past while the log or the database is away: each is answered in time, none keeps its turn, and after it all are.

The judge is the client: statuses, problem codes, seconds, and afterwards the same bytes as before.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest
from barecount_chassis import Settings
from barecount_command.app import build
from barecount_readmodel import database, past

from tests.chaos.servers.proxy import Proxy, proxied
from tests.integration.command.kit import asking
from tests.integration.command.test_admission import created
from tests.support.servers import Kafka, Postgres, in_containers
from tests.support.service import Service, running, settings

pytestmark = pytest.mark.chaos

PIPELINE = "/pipelines/revenue-kpi"
# of the question, and of a statement; in the product ten times as long
SECONDS = 2.0
# what closing a client and recording the call may add
MORE_SECONDS = 6.0


@dataclass(frozen=True)
class Asked:
    """One question about the past of a service whose database stands behind a proxy, and what was answered to it at first."""

    service: Service
    proxy: Proxy
    tenant: str
    position: str
    content: bytes

    async def ask(self, times: int) -> list[httpx.Response]:
        """So many at once, each within its time. An impatient client: 503 is an answer."""
        async with self.service.client("developer", self.tenant) as client:

            async def one() -> httpx.Response:
                began = time.monotonic()
                answer = await client.get(PIPELINE, params={"as_of": self.position})
                assert time.monotonic() - began < SECONDS + MORE_SECONDS, "answered too late"
                return answer

            async with asyncio.timeout(SECONDS + MORE_SECONDS + 5):
                return await asyncio.gather(*(one() for _ in range(times)))

    async def again(self) -> None:
        """Until as many at once as may be are all answered as at first: no turn was lost."""
        async with asyncio.timeout(40):
            while True:
                answers = await self.ask(past.AT_ONCE)
                if all(answer.status_code == 200 for answer in answers):
                    break
                refused(answers)
        assert {answer.content for answer in answers} == {self.content}


def refused(answers: list[httpx.Response], *codes: str) -> None:
    """503 with what to do; the record of the call needs the log too, and is asked for last."""
    for answer in answers:
        if answer.status_code == 200:
            continue
        assert answer.status_code == 503, answer.text
        assert answer.json()["code"] in (codes or ("service-unavailable", "evidence-unavailable", "not-yet-projected")), answer.text
        assert answer.json()["remedy"]
        assert answer.headers["Retry-After"] == "1"


@pytest.fixture(scope="module")
async def asked(furnished_kafka: Kafka, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asked]:
    await postgres.furnish()
    given = settings(Settings, "command", furnished_kafka, postgres, Path(tmp_path_factory.mktemp("away")))
    async with AsyncExitStack() as stack:
        proxy, url = await stack.enter_async_context(proxied(postgres.dsn("command", user="command")))
        service = await stack.enter_async_context(running(build, given.model_copy(update={"database_url": url})))
        tenant = f"away-{token_hex(3)}"
        await created(service, tenant)
        async with asking(service, "developer", tenant) as developer:
            answer = await developer.get(PIPELINE)
        yield Asked(service, proxy, tenant, answer.headers["X-As-Of"], answer.content)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "ANSWER_SECONDS", SECONDS)
    monkeypatch.setattr(database, "ASK_SECONDS", SECONDS)


@contextmanager
def frozen(kafka: Kafka) -> Iterator[None]:
    server: Any = kafka._server
    os.kill(server.child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.child.pid, signal.SIGCONT)


async def test_while_the_database_is_silent_every_question_is_refused_in_time_and_keeps_no_turn(asked: Asked) -> None:
    asked.proxy.passing.clear()
    try:
        # some wait for the log's answer, some for a turn
        refused(answers := await asked.ask(2 * past.AT_ONCE + 1), "service-unavailable")
        assert {answer.status_code for answer in answers} == {503}
        # today's question too
        async with asked.service.client("developer", asked.tenant) as client:
            began = time.monotonic()
            today = await client.get(PIPELINE)
            assert (today.status_code, today.json()["code"]) == (503, "service-unavailable")
            assert time.monotonic() - began < 2 * SECONDS + MORE_SECONDS
    finally:
        asked.proxy.passing.set()
    await asked.again()


async def test_a_database_that_breaks_off_refuses_and_the_next_questions_are_answered(asked: Asked) -> None:
    for _ in range(5):
        questions = asyncio.create_task(asked.ask(past.AT_ONCE))
        while not questions.done():
            asked.proxy.cut()
            await asyncio.sleep(0.003)
        refused(questions.result(), "service-unavailable")
    await asked.again()


@pytest.mark.skipif(in_containers(), reason="the broker's process is another machine's")
async def test_while_the_broker_is_frozen_every_question_is_refused_in_time_and_keeps_no_turn(asked: Asked, furnished_kafka: Kafka) -> None:
    with frozen(furnished_kafka):
        answers = await asked.ask(2 * past.AT_ONCE + 1)
        assert {answer.status_code for answer in answers} == {503}
        refused(answers)
    await asked.again()


async def test_a_broker_that_dies_under_questions_refuses_them_and_the_next_are_answered(asked: Asked, furnished_kafka: Kafka) -> None:
    questions = asyncio.create_task(asked.ask(2 * past.AT_ONCE + 1))
    await asyncio.to_thread(furnished_kafka.kill)
    refused(await questions)
    answers = await asked.ask(past.AT_ONCE)
    assert {answer.status_code for answer in answers} == {503}
    refused(answers)
    await asyncio.to_thread(furnished_kafka.start)
    await asked.again()
