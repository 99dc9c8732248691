"""What a pipeline and a replay request were: every answer that was given once is given again, byte for byte, for ever."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from barecount_command.projection import VIEWS
from barecount_command.views import PipelinesView
from barecount_contracts import Position, catalogue, partition_of
from barecount_eventlog import KafkaSettings
from barecount_eventlog.writer import FencedWriter
from barecount_readmodel import Rebuild, Token, past

from tests.integration.command.kit import asking
from tests.integration.command.test_admission import WAIT, created, sample
from tests.integration.command.test_replay import replay, started
from tests.support.servers import Kafka, Postgres
from tests.support.service import Service

pytestmark = pytest.mark.integration

PIPELINE = "/pipelines/revenue-kpi"
TOKEN = Token.of(Position(topic="control.events", partition=0, offset=0)).encode(b"a consistency token is no moment", "past")


@dataclass
class Diary:
    """What was answered, with the position and the time at which it stood."""

    client: httpx.AsyncClient
    pages: list[tuple[str, str, datetime, bytes]] = field(default_factory=list)

    async def write(self, *paths: str) -> None:
        for path in paths:
            answer = await self.client.get(path)
            assert answer.status_code == 200, answer.text
            # events carry the broker's milliseconds: the next command's time is later than this one
            self.pages.append((path, answer.headers["X-As-Of"], datetime.now(UTC) - timedelta(milliseconds=1), answer.content))


@pytest.fixture(scope="module")
async def diary(service: Service) -> Any:
    """The life of a pipeline and of a request about it, one answer after each command. Its tenant's other things go on meanwhile."""
    await created(service, "past")
    async with asking(service, "tenant_admin", "past") as admin:
        diary = Diary(admin)
        history = f"{PIPELINE}/history"
        await diary.write(PIPELINE, history)
        for owner in ("finance", "risk"):
            changed = sample("revenue-kpi", owner=owner)
            assert (await admin.put(PIPELINE, json=changed, headers=WAIT)).status_code == 200
            await diary.write(PIPELINE, f"{PIPELINE}?environment=prod", f"{PIPELINE}?version=1", history)
        assert (await admin.post(f"{PIPELINE}/promote", json={"from": "dev", "to": "prod"}, headers=WAIT)).status_code == 200
        await diary.write(PIPELINE, f"{PIPELINE}?environment=prod")
        await started(service, "past", "run-1")
        # nothing of the run stands in the ledger, so the policy's report ends the request by itself
        assert (await replay(admin, "run-1")).status_code >= 400
        (request,) = (await admin.get("/governance/approvals")).json()["items"]
        await diary.write(f"/governance/approvals/{request['request_id']}", PIPELINE)
        assert (await admin.delete(PIPELINE, headers=WAIT)).status_code == 200
        await diary.write(PIPELINE, history)
        yield diary


async def as_of(client: httpx.AsyncClient, path: str, moment: str, etag: str = "") -> httpx.Response:
    # merged, because httpx's params replace what the path asks
    return await client.get(httpx.URL(path).copy_merge_params({"as_of": moment}), headers={"If-None-Match": etag})


async def refused(client: httpx.AsyncClient, moment: str, path: str = PIPELINE) -> tuple[int, str, str]:
    answer = await as_of(client, path, moment)
    return answer.status_code, answer.json()["code"], answer.json()["detail"]


async def test_a_moment_that_cannot_be_read_is_refused_with_what_to_write(diary: Diary) -> None:
    for text in (
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-11-25",
        "control.events/1",
        "control.events/0@1,control.events/0@2",
        "@",
        "",
        TOKEN,
    ):
        status, code, _ = await refused(diary.client, text)
        assert (status, code) == (400, "as-of-malformed"), text
    status, code, detail = await refused(diary.client, "2026-11-25T10:00:00")
    assert (status, code) == (400, "as-of-malformed")
    assert "names no zone" in detail


async def test_a_position_of_another_log_or_partition_is_refused_with_the_one_that_counts(diary: Diary) -> None:
    mine = partition_of("past", catalogue().topics["control.events"].partitions)
    other = (mine + 1) % 4
    for position in ("runs.events/0@1", "pipelines.commands/0@1", "nothing/0@1"):
        status, code, detail = await refused(diary.client, position)
        assert (status, code) == (400, "as-of-foreign"), position
        assert "control.events" in detail
    for partition in (other, 99):
        status, code, detail = await refused(diary.client, f"control.events/{partition}@0")
        assert (status, code) == (400, "as-of-foreign")
        assert f"control.events/{mine}" in detail


async def test_what_has_not_come_yet_is_refused(diary: Diary) -> None:
    mine = partition_of("past", catalogue().topics["control.events"].partitions)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for moment in (tomorrow, f"control.events/{mine}@999999"):
        status, code, _ = await refused(diary.client, moment)
        assert (status, code) == (400, "as-of-future"), moment


async def test_before_a_thing_was_there_and_for_another_tenant_it_is_not_found_in_the_same_words(service: Service, diary: Diary) -> None:
    request = next(path for path, *_ in diary.pages if "approvals" in path)
    early = diary.pages[0][2] - timedelta(days=1)
    async with asking(service, "tenant_admin", "past-stranger") as stranger:
        # a manifest by its version, by its environment, a pipeline, its history, a request
        for path in (PIPELINE, f"{PIPELINE}?version=1", f"{PIPELINE}?environment=prod", f"{PIPELINE}/history", request):
            told = {
                (await as_of(client, path, moment.isoformat())).content
                for client, moment in ((diary.client, early), (stranger, early), (stranger, diary.pages[-1][2]))
            }
            nothing = await stranger.get(path)
            assert told == {nothing.content}, path
            assert nothing.status_code == 404


async def test_every_answer_is_given_again_for_its_position(diary: Diary) -> None:
    assert len({content for *_, content in diary.pages}) > 6
    for path, position, _, content in diary.pages:
        answer = await as_of(diary.client, path, position)
        assert answer.content == content, f"{path} as of {position}"
        assert answer.headers["X-As-Of"] == position
        assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
        if "ETag" not in answer.headers:
            assert path.endswith("/history"), "a page has none"
            continue
        again = await as_of(diary.client, path, position, answer.headers["ETag"])
        assert (again.status_code, again.content) == (304, b"")


async def test_every_answer_is_given_again_for_its_time_and_for_the_time_that_it_shows(diary: Diary) -> None:
    for path, _, time, content in diary.pages:
        answer = await as_of(diary.client, path, time.isoformat())
        assert answer.content == content, f"{path} as of {time}"
        changed = answer.json().get("updated_at")
        if changed is None:
            continue
        exactly = await as_of(diary.client, path, changed)
        assert exactly.content == content, f"{path} as of {changed}, when it came to be so"
        assert (await as_of(diary.client, path, exactly.headers["X-As-Of"])).content == content


async def test_a_request_is_pending_until_the_ledger_has_spoken(diary: Diary) -> None:
    path, _, _, content = next(page for page in diary.pages if "approvals" in page[0])
    ended = json.loads(content)
    assert ended["state"] == "refused"
    pending = (await as_of(diary.client, path, ended["requested_at"])).json()
    changed = ("state", "code", "detail")
    assert {**pending, **{name: ended[name] for name in changed}} == ended
    assert [pending[name] for name in changed] == ["pending", None, None]


async def test_what_comes_later_and_a_rebuild_change_nothing_of_what_was(
    service: Service, diary: Diary, own_kafka: Kafka, own_postgres: Postgres
) -> None:
    given = own_kafka.settings("command")
    kafka = KafkaSettings(given["bootstrap_servers"], given["sasl_plain_username"], given["sasl_plain_password"])
    done = await Rebuild(kafka, own_postgres.dsn("command", user="command"), "command", VIEWS).run()
    assert done["tables"]["entity_events"] >= 8
    async with asking(service, "developer", "past-again") as developer:
        assert (await developer.post("/contracts", json=sample("revenue-kpi.odcs"), headers=WAIT)).status_code == 201
    for path, position, time, content in diary.pages:
        for moment in (position, time.isoformat()):
            assert (await as_of(diary.client, path, moment)).content == content, f"{path} as of {moment}"


async def test_what_more_events_made_than_are_read_is_refused_and_asked_for_an_earlier_moment_told(
    diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [page for page in diary.pages if page[0] == PIPELINE]
    events = len((await as_of(diary.client, f"{PIPELINE}/history", pages[-1][1])).json()["items"])
    monkeypatch.setattr(past, "MOST_EVENTS", events)
    assert (await as_of(diary.client, PIPELINE, pages[-1][1])).content == pages[-1][3], "exactly so many are read"
    monkeypatch.setattr(past, "MOST_EVENTS", events - 1)
    answer = await as_of(diary.client, PIPELINE, pages[-1][1])
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    problem = answer.json()
    assert (problem["code"], problem["detail"]) == (
        "as-of-too-long",
        f"more than {events - 1} events made pipeline revenue-kpi what it was then",
    )
    assert "earlier moment" in problem["remedy"]
    assert (await as_of(diary.client, PIPELINE, pages[0][1])).content == pages[0][3]


async def test_until_what_was_asked_for_is_decided_its_time_is_not_told_and_then_it_is(
    service: Service, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner stands at a command; who asks for a time after it must not be told the state without it."""
    await created(service, "undecided")
    held = asyncio.Event()
    commit = FencedWriter.commit

    async def held_up(self: FencedWriter, *given: Any) -> Any:
        await held.wait()
        return await commit(self, *given)

    monkeypatch.setattr(FencedWriter, "commit", held_up)
    # not the patient client: 503 is the answer
    async with service.client("developer", "undecided") as client:
        before = await client.get(PIPELINE)
        accepted = await client.put(PIPELINE, json=sample("revenue-kpi", owner="later"))
        assert accepted.status_code == 202
        moment = datetime.now(UTC).isoformat()
        answer = await as_of(client, PIPELINE, moment)
        assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "not-yet-projected", "1")
        assert "pipelines.commands/" in answer.json()["detail"]
        # what is decided already is told meanwhile: a position, and a time before the command
        assert (await as_of(client, PIPELINE, before.headers["X-As-Of"])).content == before.content
        assert (await as_of(client, PIPELINE, before.json()["updated_at"])).content == before.content
        held.set()
    async with asking(service, "developer", "undecided") as patient:
        then = await as_of(patient, PIPELINE, moment)
        assert then.json()["manifest"]["owner"] == "later"


async def test_a_position_that_is_not_projected_yet_is_waited_for(service: Service, diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    await created(service, "unprojected")
    held, apply = asyncio.Event(), PipelinesView.apply

    async def held_up(self: PipelinesView, *given: Any) -> None:
        await held.wait()
        await apply(self, *given)

    async with service.client("developer", "unprojected") as client:
        position = (await client.get(PIPELINE)).headers["X-As-Of"]
        where, at = position.split("@")
        monkeypatch.setattr(PipelinesView, "apply", held_up)
        accepted = await client.put(PIPELINE, json=sample("revenue-kpi", owner="later"))
        assert accepted.status_code == 202
        # the log holds it and the rows do not
        async with asyncio.timeout(20):
            while (answer := await as_of(client, PIPELINE, f"{where}@{int(at) + 1}")).json()["code"] == "as-of-future":  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # the owner is another part: nothing to wait on but its answers
        assert (answer.status_code, answer.json()["code"]) == (503, "not-yet-projected")
        held.set()
        monkeypatch.setattr(PipelinesView, "apply", apply)
    async with asking(service, "developer", "unprojected") as patient:
        then = await as_of(patient, PIPELINE, f"{where}@{int(at) + 1}")
        assert then.json()["manifest"]["owner"] == "later"
