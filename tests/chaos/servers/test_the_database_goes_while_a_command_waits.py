"""PostgreSQL gone or silent between a command's append and its answer: the caller is told that the command stands, and where to look.

The judge is the caller: whoever was told "accepted" finds the outcome under the id that the answer named, and never twice.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal
from uuid import uuid4

import httpx
import pytest
from barecount_chassis import Caller, CommandBus, Settings, Submitted
from barecount_command.app import build
from barecount_command.http.desk import READ_SECONDS
from barecount_command.views import Recent
from barecount_contracts import Message
from barecount_readmodel import Projector, Token, database

from tests.chaos.servers.proxy import Proxy, proxied
from tests.integration.command.kit import asking
from tests.integration.command.test_admission import registered, sample
from tests.support.servers import Kafka, Postgres
from tests.support.service import Service, running, settings

pytestmark = pytest.mark.chaos

How = Literal["gone", "silent"]
# of a statement; in the product ten
ASK_SECONDS = 5.0
SCHEMA = {"schemaType": "JSON", "schema": '{"type": "object", "properties": {"n": {"type": "integer"}}}'}


@dataclass(frozen=True)
class Held:
    """A service whose database stands behind a proxy, and a tenant with two contracts."""

    service: Service
    proxy: Proxy
    tenant: str

    def lose(self, how: How) -> None:
        if how == "silent":
            self.proxy.passing.clear()
        else:
            self.proxy.gone = True
            self.proxy.cut()

    @contextmanager
    def losing(self, monkeypatch: pytest.MonkeyPatch, moment: str, how: How, *, elsewhere: bool = True) -> Any:
        """The database goes at this moment of the next command, and is back after the block.

        elsewhere: another process has projected the outcome, so that this one has only its row.
        """
        submit, wait, recent = CommandBus.submit, Projector.wait, Recent.get

        async def appended(bus: CommandBus, caller: Caller, payload: Message, **more: Any) -> Submitted:
            submitted = await submit(bus, caller, payload, **more)
            if moment == "appended":
                self.lose(how)
            return submitted

        async def projected(projector: Projector, token: Token, timeout: float) -> None:
            await wait(projector, token, timeout)
            if moment == "projected":
                self.lose(how)

        monkeypatch.setattr(CommandBus, "submit", appended)
        monkeypatch.setattr(Projector, "wait", projected)
        if elsewhere:
            monkeypatch.setattr(Recent, "get", lambda recent, at, tenant: None)
        try:
            yield
        finally:
            monkeypatch.setattr(CommandBus, "submit", submit)
            monkeypatch.setattr(Projector, "wait", wait)
            monkeypatch.setattr(Recent, "get", recent)
            self.proxy.gone = False
            self.proxy.passing.set()

    async def post(self, path: str, body: Any, key: str, **headers: str) -> httpx.Response:
        """Impatient: the first answer counts."""
        async with self.service.client("developer", self.tenant) as client:
            return await client.post(path, json=body, headers={"Idempotency-Key": key, **headers})


@pytest.fixture(scope="module")
async def held(furnished_kafka: Kafka, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Held]:
    await postgres.furnish()
    given = settings(Settings, "command", furnished_kafka, postgres, Path(tmp_path_factory.mktemp("waits")))
    async with AsyncExitStack() as stack:
        soon = stack.enter_context(pytest.MonkeyPatch.context())
        soon.setattr(database, "ASK_SECONDS", ASK_SECONDS)
        proxy, url = await stack.enter_async_context(proxied(postgres.dsn("command", user="command")))
        service = await stack.enter_async_context(running(build, given.model_copy(update={"database_url": url})))
        tenant = f"waits-{token_hex(3)}"
        await registered(service, tenant)
        yield Held(service, proxy, tenant)


@pytest.mark.parametrize("how", ["gone", "silent"])
@pytest.mark.parametrize("moment", ["appended", "projected"])
async def test_a_command_whose_outcome_cannot_be_read_is_answered_as_accepted_and_is_found_under_its_id(
    held: Held, monkeypatch: pytest.MonkeyPatch, moment: str, how: How
) -> None:
    name = f"kpi-{token_hex(3)}"
    manifest = {**sample("revenue-kpi"), "name": name}
    with held.losing(monkeypatch, moment, how):
        began = time.monotonic()
        answer = await held.post("/pipelines", manifest, str(uuid4()), Prefer="wait=2")
    assert time.monotonic() - began < 2 + READ_SECONDS + 1, "who asked to wait 2 s waited for the database"
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["status"], "event" in told, "preference-applied" in answer.headers) == ("accepted", False, False)
    assert answer.headers["location"] == told["links"]["command"] == f"/commands/{told['command_id']}"
    token = {"X-Consistency-Token": answer.headers["x-consistency-token"]}
    async with asking(held.service, "developer", held.tenant) as patient:
        shown = (await patient.get(answer.headers["location"], headers=token)).json()
        assert (shown["status"], shown["admission"]["type"]) == ("admitted", "PipelineCreated")
        assert (await patient.get(f"/pipelines/{name}", headers=token)).json()["version"] == 1


@pytest.mark.parametrize("how", ["gone", "silent"])
async def test_an_outcome_that_this_process_has_projected_is_answered_without_the_database(
    held: Held, monkeypatch: pytest.MonkeyPatch, how: How
) -> None:
    name = f"kpi-{token_hex(3)}"
    with held.losing(monkeypatch, "projected", how, elsewhere=False):
        answer = await held.post("/pipelines", {**sample("revenue-kpi"), "name": name}, str(uuid4()), Prefer="wait=2")
    assert (answer.status_code, answer.json()["event"]["type"]) == (201, "PipelineCreated"), answer.text
    async with asking(held.service, "developer", held.tenant) as patient:
        token = {"X-Consistency-Token": answer.headers["x-consistency-token"]}
        assert (await patient.get(f"/pipelines/{name}", headers=token)).json()["version"] == 1
        shown = (await patient.get(f"/commands/{answer.json()['command_id']}", headers=token)).json()
    assert shown["admission"]["data"] == answer.json()["event"]["data"], "what was told is not what the row has"


@pytest.mark.parametrize("how", ["gone", "silent"])
async def test_a_route_that_cannot_answer_without_the_outcome_names_the_command_and_the_same_key_gives_the_outcome(
    held: Held, monkeypatch: pytest.MonkeyPatch, how: How
) -> None:
    path, key = f"/subjects/s-{token_hex(3)}/versions", str(uuid4())
    with held.losing(monkeypatch, "projected", how):
        answer = await held.post(path, SCHEMA, key)
    assert (answer.status_code, answer.json()["error_code"]) == (503, 50002), answer.text
    link = answer.headers["location"]
    assert f"{link.rpartition('/')[2]} is accepted" in answer.json()["message"]
    assert "nothing was changed" not in answer.text
    async with asking(held.service, "developer", held.tenant) as patient:
        assert (await patient.get(link)).json()["status"] == "admitted"
        again = await patient.post(path, json=SCHEMA, headers={"Idempotency-Key": key})
        assert (again.status_code, again.json()["version"]) == (200, 1), again.text
        assert (await patient.get(path)).json() == [1]


async def test_a_question_asked_while_the_database_is_away_says_that_nothing_was_changed(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held.losing(monkeypatch, "never", "gone"):
        held.lose("gone")
        async with held.service.client("developer", held.tenant) as client:
            answer = await client.get("/pipelines")
    assert (answer.status_code, answer.json()["code"]) == (503, "service-unavailable")
    assert "nothing was changed" in answer.json()["detail"]
    async with asking(held.service, "developer", held.tenant) as patient:
        assert (await patient.get("/pipelines")).status_code == 200
