"""Runs over real Kafka and PostgreSQL: the service as a process, a worker that speaks the public contract."""

from __future__ import annotations

from uuid import uuid4

import pytest
from barecount_contracts import (
    PublishTicketGranted,
    ReportIgnored,
    RunCancelled,
    TaskDispatched,
    TaskLeaseExpired,
)

from tests.integration.execution.kit import DAY, Execution, Site, Worker, counted, does_all, eventually, in_pool

pytestmark = pytest.mark.integration


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid4().hex[:8]}"


@pytest.fixture
def pool(tenant: str) -> str:
    return f"pool-{tenant}"


async def test_a_run_is_driven_to_success_by_a_worker(site: Site, execution: Execution, tenant: str, pool: str) -> None:
    document = in_pool(pool)
    await site.register(tenant, document)
    async with Worker(site, f"w-{tenant}", pool, answer=does_all).running():
        asked = await site.request(tenant, "run_1", document)
        run = await execution.run(tenant, "run_1", "succeeded")
    assert run["totals"]["records_in"] == 1000
    assert run["totals"]["records_out"] == 7
    assert run["totals"]["reconciled"] is True
    assert [(s["stage"], s["status"], len(s["attempts"])) for s in run["stages"]] == [
        ("read", "succeeded", 1),
        ("aggregate", "succeeded", 1),
        ("publish", "succeeded", 1),
    ]
    assert run["correlation"] == str(asked.correlation)
    mine = [record.envelope for record in await site.log() if record.envelope.tenant == tenant]
    assert [event.type for event in mine] == [
        *("RunQueued", "RunStarted", "TaskDispatched", "TaskStarted", "TaskSucceeded", "TaskDispatched", "TaskStarted", "TaskSucceeded"),
        *("TaskDispatched", "PublishTicketGranted", "TaskStarted", "TaskSucceeded", "DataPartitionPublished", "RunSucceeded"),
    ]
    assert {event.correlation for event in mine} == {asked.correlation}
    published = (await execution.get("/runs/run_1/partitions", tenant)).json()["items"]
    assert [(p["data_partition"], p["status"], p["publications"][0]["records"]) for p in published] == [(DAY, "published", 7)]
    metrics = (await execution.get("/runs/run_1/metrics", tenant)).json()
    assert (metrics["error_rate"], metrics["final"], metrics["reconciliations"][0]["holds"]) == ("0.000000", True, True)


async def test_a_run_that_fails_says_where_and_why(site: Site, execution: Execution, tenant: str, pool: str) -> None:
    document = in_pool(pool)
    await site.register(tenant, document)

    async def fails(worker: Worker, task) -> None:  # type: ignore[no-untyped-def]
        await (worker.failed(task, "reconciliation-failed") if task.task.stage == "publish" else worker.succeeded(task))

    async with Worker(site, f"w-{tenant}", pool, answer=fails).running():
        await site.request(tenant, "run_1", document)
        run = await execution.run(tenant, "run_1", "failed")
    assert run["error"] == {"stage": "publish", "error_type": "reconciliation-failed", "message": "it broke"}
    assert run["waiting_for"] is None
    assert (await execution.get("/runs/run_1/partitions", tenant)).json()["items"][0]["status"] == "not-published"
    assert counted(await site.events_of(tenant))["RunFailed"] == 1


async def test_a_run_without_a_worker_says_what_it_waits_for(site: Site, execution: Execution, tenant: str, pool: str) -> None:
    document = in_pool(pool)
    await site.register(tenant, document)
    await site.request(tenant, "run_1", document)
    run = await execution.run(tenant, "run_1", "queued")
    assert run["waiting_for"]["limit"] == "workers"
    async with Worker(site, f"w-{tenant}", pool).running() as worker:
        await worker.next_task()
        await site.request(tenant, "run_2", document)
        await execution.run(tenant, "run_2", "queued")
        waits = (await execution.get("/runs/run_2", tenant)).json()["waiting_for"]
        assert (waits["limit"], waits["held_by"], waits["slots"]) == ("slots", ["run_1"], 1)
        await site.cancel(tenant, "run_2")
        await execution.run(tenant, "run_2", "cancelled")
        await worker.failed(worker.tasks[0])


async def test_a_silent_worker_loses_its_attempt_to_another_and_its_late_report_is_refused(
    site: Site, execution: Execution, tenant: str, pool: str
) -> None:
    document = in_pool(pool)
    await site.register(tenant, document)
    async with Worker(site, f"w1-{tenant}", pool).running() as silent:
        await site.request(tenant, "run_1", document)
        lost = await silent.next_task()
        async with Worker(site, f"w2-{tenant}", pool, answer=does_all).running() as other:
            await execution.run(tenant, "run_1", "succeeded")
            assert other.tasks[0].task.attempt == 2
            await silent.succeeded(lost)
            assert (await silent.interrupted()).task == lost.task
    events = await site.events_of(tenant)
    assert [event.task.worker_id for event in events if isinstance(event, TaskLeaseExpired)] == [f"w1-{tenant}"]
    assert [event.code for event in events if isinstance(event, ReportIgnored)] == ["run-ended"]
    assert counted(events)["RunSucceeded"] == 1


async def test_a_worker_that_beats_keeps_its_attempt_longer_than_a_lease(site: Site, execution: Execution, tenant: str, pool: str) -> None:
    document = in_pool(pool)
    await site.register(tenant, document)
    async with Worker(site, f"w-{tenant}", pool).running() as worker:
        await site.request(tenant, "run_1", document)
        task = await worker.next_task()
        begun = (await worker_clock(site, tenant)).dispatched

        async def beaten() -> bool | None:
            await worker.alive(task)
            clock = await worker_clock(site, tenant)
            return (clock.latest - begun).total_seconds() > 2 * execution.lease_seconds or None

        await eventually(beaten, "two leases to pass")
        worker.answer = does_all
        await does_all(worker, task)
        run = await execution.run(tenant, "run_1", "succeeded")
    assert [len(stage["attempts"]) for stage in run["stages"]] == [1, 1, 1]


async def test_a_cancelled_run_is_interrupted_and_its_open_publication_fenced(
    site: Site, execution: Execution, tenant: str, pool: str
) -> None:
    document = in_pool(pool)
    await site.register(tenant, document)

    async def until_publish(worker: Worker, task) -> None:  # type: ignore[no-untyped-def]
        if task.task.stage != "publish":
            await does_all(worker, task)

    async with Worker(site, f"w-{tenant}", pool, answer=until_publish).running() as worker:
        await site.request(tenant, "run_1", document)
        publishing = await worker.next_task(3)
        await site.cancel(tenant, "run_1")
        assert (await worker.interrupted()).task == publishing.task
        await worker.failed(publishing, "interrupted", retriable=True)
        fence = await worker.next_task(4)
        assert fence.purpose == "fence"
        assert fence.ticket is not None
        assert publishing.ticket is not None
        assert fence.ticket.superseded == (publishing.ticket.number,)
        await worker.succeeded(fence)
        run = await execution.run(tenant, "run_1", "cancelled")
    assert run["cancel_reason"] == "not needed"
    events = await site.events_of(tenant)
    assert counted(events)["DataPartitionPublished"] == 0
    assert [type(event) for event in events][-1] is RunCancelled


async def test_the_process_is_killed_between_tasks_and_the_run_ends_the_same(
    site: Site, execution: Execution, tenant: str, pool: str
) -> None:
    document = in_pool(pool)
    await site.register(tenant, document)
    days = ("2025-10-01", "2025-10-02", "2025-10-03")
    async with Worker(site, f"w-{tenant}", pool, slots=2, beats=0.5).running() as worker:
        await site.request(tenant, "run_1", document, *days)
        for number, kill in enumerate((True, False, True, True, False, False, True, False, False), 1):
            task = await worker.next_task(number)
            if kill:
                await execution.kill()
            # the report stands in the inbox while nobody reads it
            await worker.started(task)
            await worker.succeeded(task)
            if kill:
                await execution.start()
        run = await execution.run(tenant, "run_1", "succeeded")
    events = await site.events_of(tenant)
    assert counted(events)["RunSucceeded"] == 1
    assert counted(events)["RunQueued"] == 1
    assert counted(events)["DataPartitionPublished"] == 3
    assert run["totals"]["records_out"] == 21
    dispatched = [event.task for event in events if isinstance(event, TaskDispatched)]
    assert len({task.nonce for task in dispatched}) == len(dispatched)
    granted = [event.ticket for event in events if isinstance(event, PublishTicketGranted)]
    assert len({(ticket.app_id, ticket.number) for ticket in granted}) == len(granted)
    # every record of the inbox has one outcome, in order and without a gap
    outcomes: dict[int, list[int]] = {}
    for record in await site.log():
        cause = record.envelope.cause
        assert cause is not None
        if cause.index == 0:
            outcomes.setdefault(record.partition, []).append(cause.offset)
    inbox: dict[int, list[int]] = {}
    for record in await site.log("runs.commands"):
        inbox.setdefault(record.partition, []).append(record.offset)
    assert outcomes == inbox


async def test_a_run_whose_worker_restarts_goes_on_with_the_new_incarnation_at_once(
    site: Site, execution: Execution, tenant: str, pool: str
) -> None:
    document = in_pool(pool)
    await site.register(tenant, document)
    async with Worker(site, f"w-{tenant}", pool).running() as first:
        await site.request(tenant, "run_1", document)
        await first.next_task()
        async with Worker(site, f"w-{tenant}", pool, answer=does_all).running():
            run = await execution.run(tenant, "run_1", "succeeded")
    assert [attempt["status"] for attempt in run["stages"][0]["attempts"]] == ["lost", "succeeded"]


async def test_a_run_whose_manifest_the_control_log_never_had_is_refused_in_the_log(
    site: Site, execution: Execution, tenant: str, pool: str
) -> None:
    await site.request(tenant, "run_1", in_pool(pool))
    run = await execution.run(tenant, "run_1", "refused")
    assert run["error"]["error_type"] == "invalid-manifest"


class Clock:
    dispatched = latest = None


async def worker_clock(site: Site, tenant: str):  # type: ignore[no-untyped-def]
    """Broker times: of the tenant's first dispatch, and of its newest event."""
    clock = Clock()
    for record in await site.log():
        if record.envelope.tenant == tenant:
            clock.latest = record.envelope.time  # type: ignore[assignment]
            if clock.dispatched is None and record.envelope.type == "TaskDispatched":
                clock.dispatched = record.envelope.time  # type: ignore[assignment]
    return clock
