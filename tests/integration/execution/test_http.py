"""What the routes answer, and to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from barecount_contracts import Envelope, Message, RecordDeadLettered, RunLogged, RunTask, SourcePosition
from barecount_readmodel import Token, token_secret

from tests.integration.execution.kit import DAY, Execution, Site, Worker, does_all, eventually, in_pool

pytestmark = pytest.mark.integration

SLOS = [
    {
        "name": "runs-succeed",
        "indicator": {"ratioMetric": {"good": {"metric": "runs_succeeded"}, "total": {"metric": "runs"}}},
        "timeWindow": [{"duration": "7d"}],
        "objectives": [{"target": "0.9"}],
    },
    {
        "name": "fast",
        "indicator": {"thresholdMetric": {"metric": "run_duration_seconds"}},
        "timeWindow": [{"duration": "7d"}],
        "objectives": [{"target": "0.99", "op": "lte", "value": 3600}],
    },
]


@dataclass
class Story:
    tenant: str
    other: str
    pool: str


@pytest_asyncio.fixture(scope="module")
async def story(site: Site, execution: Execution) -> AsyncIterator[Story]:
    """Three runs of one tenant: one succeeded, one failed with log lines and dead letters, one queued in a full pool."""
    tenant, other = f"h-{uuid4().hex[:8]}", f"o-{uuid4().hex[:8]}"
    pool = f"pool-{tenant}"
    document = {**in_pool(pool), "slos": SLOS}
    await site.register(tenant, document)
    await site.register(other, document)

    async def answers(worker: Worker, task: RunTask) -> None:
        if task.run_id == "run_bad" and task.task.stage == "aggregate":
            await logged(site, tenant, task)
            await worker.failed(task)
        elif task.run_id != "run_open":
            await does_all(worker, task)

    async with Worker(site, f"w-{tenant}", pool, answer=answers, beats=1.0).running():
        for run_id in ("run_good", "run_bad", "run_open", "run_wait"):
            await site.request(tenant, run_id, document)
            wanted = {"run_good": "succeeded", "run_bad": "failed", "run_open": "running"}.get(run_id, "queued")
            await execution.run(tenant, run_id, wanted)
        yield Story(tenant, other, pool)


async def logged(site: Site, tenant: str, task: RunTask) -> None:
    for number in range(5):
        common: dict[str, Any] = {"run_id": task.run_id, "stage": task.task.stage, "data_partition": DAY, "attempt": 1}
        error = "bad-row" if number % 2 else None
        line = RunLogged(
            **common,
            worker_id=task.task.worker_id,
            level="error" if error else "info",
            event=f"line-{number}",
            error_type=error,
            sequence=number,
        )
        await append(site, "run.logs", task.run_id, tenant, line)
        entry = RecordDeadLettered(
            **common,
            entry_id=f"{tenant}-{number}",
            pipeline="revenue-kpi",
            error_type="malformed" if number else "truncated",
            reason="7 columns instead of 8",
            source=SourcePosition(path="in/2025-10-04.csv", line=number + 2),
            payload="a,b\x00,c",
        )
        await append(site, "dlq", task.run_id, tenant, entry)
        if number == 0:
            # a worker that came back after a crash says it again
            await append(site, "dlq", task.run_id, tenant, entry)


async def append(site: Site, topic: str, key: str, tenant: str, payload: Message) -> None:
    identity = uuid4()
    envelope = Envelope(id=identity, type=payload.TYPE, tenant=tenant, time=datetime.now(UTC), correlation=identity, data=payload.to_data())
    await site.reports.append(topic, key, envelope)


ROUTES = (
    "/runs",
    "/runs/run_good",
    "/runs/run_good/metrics",
    "/runs/run_good/logs",
    "/runs/run_good/partitions",
    "/workers",
    "/dlq",
    "/slos",
)


@pytest.mark.parametrize("route", ROUTES)
async def test_nobody_reads_without_a_token(execution: Execution, story: Story, route: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{execution.port}") as http:
        answer = await http.get(route)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_an_auditor_may_not_read_dead_letters(execution: Execution, story: Story) -> None:
    answer = await execution.get("/dlq", story.tenant, role="auditor")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await execution.get("/runs", story.tenant, role="auditor")).status_code == 200


@pytest.mark.parametrize("suffix", ["", "/metrics", "/logs", "/partitions"])
async def test_another_tenants_run_and_no_run_answer_the_same(execution: Execution, story: Story, suffix: str) -> None:
    theirs = (await execution.get(f"/runs/run_good{suffix}", story.other)).json()
    nobodys = (await execution.get(f"/runs/run_never{suffix}", story.other)).json()
    for answer in (theirs, nobodys):
        answer.pop("instance", None)
        answer.pop("trace_id", None)
    assert theirs == nobodys
    assert theirs["code"] == "run-not-found"


async def test_lists_hold_nothing_of_another_tenant(execution: Execution, story: Story) -> None:
    for route in ("/runs", "/dlq", "/slos"):
        assert (await execution.get(route, story.other)).json()["items"] == []


@pytest.mark.parametrize("cursor", ["x", "!!", "eyJhIjoxfQ", "WzFd", "W10"])
@pytest.mark.parametrize("route", ["/runs", "/dlq", "/runs/run_bad/logs"])
async def test_a_cursor_that_was_never_given_is_refused(execution: Execution, story: Story, route: str, cursor: str) -> None:
    if (route, cursor) == ("/runs/run_bad/logs", "WzFd"):
        return  # [1] is a position there
    answer = await execution.get(route, story.tenant, cursor=cursor)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")


async def test_runs_come_newest_first_page_by_page(execution: Execution, story: Story) -> None:
    seen, cursor = [], None
    while True:
        page = (await execution.get("/runs", story.tenant, limit=1, **({"cursor": cursor} if cursor else {}))).json()
        seen += [item["run_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["run_wait", "run_open", "run_bad", "run_good"]


async def test_runs_are_found_by_status_pipeline_and_partition(execution: Execution, story: Story) -> None:
    async def found(**query: str) -> list[str]:
        return [item["run_id"] for item in (await execution.get("/runs", story.tenant, **query)).json()["items"]]

    assert await found(status="failed") == ["run_bad"]
    assert len(await found(pipeline="revenue-kpi", partition=DAY)) == 4
    assert await found(partition="2025-10-05") == []
    assert await found(pipeline="other") == []


async def test_a_queued_run_names_the_slots_and_their_holders(execution: Execution, story: Story) -> None:
    waits = (await execution.get("/runs/run_wait", story.tenant)).json()["waiting_for"]
    assert (waits["limit"], waits["held_by"], waits["pool"]) == ("slots", ["run_open"], story.pool)


async def test_workers_show_how_full_they_are_and_not_whose_work_it_is(execution: Execution, story: Story) -> None:
    workers = (await execution.get("/workers", story.other)).json()["items"]
    mine = next(worker for worker in workers if worker["pool"] == story.pool)
    assert (mine["status"], mine["slots"], mine["busy"]) == ("announced", 1, 1)
    assert "run_open" not in str(workers)


async def test_log_lines_are_found_by_stage_and_error_type(execution: Execution, story: Story) -> None:
    async def lines(**query: Any) -> list[str] | None:
        page = (await execution.get("/runs/run_bad/logs", story.tenant, **query)).json()
        return [line["event"] for line in page["items"]] or None

    assert await eventually(lambda: lines(), "log lines") == [f"line-{number}" for number in range(5)]
    assert await lines(error_type="bad-row") == ["line-1", "line-3"]
    assert await lines(level="warning", stage="aggregate") == ["line-1", "line-3"]
    assert await lines(level="info") == [f"line-{number}" for number in range(5)], "a level means this one and above"
    assert await lines(stage="read") is None
    first = (await execution.get("/runs/run_bad/logs", story.tenant, limit=2)).json()
    assert await lines(limit=2, cursor=first["next_cursor"]) == ["line-2", "line-3"]


async def test_dead_letters_show_each_record_once_with_its_place(execution: Execution, story: Story) -> None:
    page = (await execution.get("/dlq", story.tenant, run_id="run_bad", limit=3)).json()
    rest = (await execution.get("/dlq", story.tenant, run_id="run_bad", limit=3, cursor=page["next_cursor"])).json()
    entries = page["items"] + rest["items"]
    assert [entry["source"]["line"] for entry in entries] == [2, 3, 4, 5, 6]
    assert rest["next_cursor"] is None
    only = (await execution.get("/dlq", story.tenant, error_type="truncated")).json()["items"]
    assert [entry["entry_id"] for entry in only] == [f"{story.tenant}-0"]


async def test_metrics_of_a_failed_run_hold_what_was_counted_until_then(execution: Execution, story: Story) -> None:
    metrics = (await execution.get("/runs/run_bad/metrics", story.tenant)).json()
    assert (metrics["records_in"], metrics["records_out"], metrics["reconciled"], metrics["final"]) == (1000, 0, None, True)
    assert [stage["stage"] for stage in metrics["stages"]] == ["read", "aggregate"]


async def test_objectives_are_judged_over_ended_runs(execution: Execution, story: Story) -> None:
    verdicts = {item["slo"]: item for item in (await execution.get("/slos", story.tenant, pipeline="revenue-kpi")).json()["items"]}
    assert (verdicts["runs-succeed"]["good"], verdicts["runs-succeed"]["total"], verdicts["runs-succeed"]["kept"]) == (1, 2, False)
    assert (verdicts["fast"]["good"], verdicts["fast"]["total"], verdicts["fast"]["kept"]) == (1, 1, True)


async def test_a_read_with_a_token_holds_the_write_that_it_names(site: Site, execution: Execution, story: Story) -> None:
    document = {**in_pool(story.pool), "slos": SLOS}
    asked = await site.request(story.tenant, f"run_{uuid4().hex[:8]}", document)
    at = next(record for record in await site.log("control.events") if record.envelope.id == asked.id)
    token = Token.of(at.position).encode(token_secret(site.keys), story.tenant)
    headers = {"Authorization": f"Bearer {site.token(story.tenant)}", "X-Consistency-Token": token}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{execution.port}", headers=headers) as http:
        answer = await http.get(f"/runs/{asked.data['run_id']}")
        assert answer.status_code == 200
        foreign = await http.get("/runs", headers={"X-Consistency-Token": Token.of(at.position).encode(token_secret(site.keys), "another")})
        assert (foreign.status_code, foreign.json()["code"]) == (400, "token-foreign")
        beyond = Token.of(at.position.model_copy(update={"offset": at.offset + 10_000})).encode(token_secret(site.keys), story.tenant)
        future = await http.get("/runs", headers={"X-Consistency-Token": beyond})
        assert (future.status_code, future.json()["code"]) == (400, "token-future")
        # a write's token names the command's inbox, which execution may not see: what is late there is late, not of another installation
        late = at.position.model_copy(update={"topic": "pipelines.commands", "offset": 10_000_000})
        unseen = await http.get("/runs", headers={"X-Consistency-Token": Token.of(late).encode(token_secret(site.keys), story.tenant)})
        assert (unseen.status_code, unseen.json()["code"], unseen.headers["Retry-After"]) == (503, "not-yet-projected", "1")
