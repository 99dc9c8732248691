"""Workers that are killed, frozen, interrupted or cut off: nothing is published twice, nothing is left unsaid that somebody waits for."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from barecount_contracts import AnnounceWorker, ReportTaskFailed, ReportTaskSucceeded, TaskRef
from barecount_local.sample import deliver

from tests.support.servers import Kafka
from tests.support.workers import (
    TENANT,
    Execution,
    WorkerProcess,
    publications,
    reference,
    run_stages,
    slow_bodies,
    ticket,
)

pytestmark = pytest.mark.integration
Start = Callable[..., WorkerProcess]
DAY = "2025-10-05"


async def slow_task(execution: Execution, announced: AnnounceWorker, run_id: str, *, lease_seconds: int = 30) -> TaskRef:
    """An attempt that works until it is stopped; returns when its stage has begun."""
    made = slow_bodies()
    read = reference(announced, "read", DAY)
    await execution.order(read, run_id=run_id, bodies=made)
    done = await execution.final(read)
    assert isinstance(done, ReportTaskSucceeded), done
    slow = reference(announced, "aggregate", DAY)
    await execution.order(slow, run_id=run_id, bodies=made, inputs=done.outputs, lease_seconds=lease_seconds)
    await execution.until(
        lambda: [line for line in execution.logs(run_id) if (line.stage, line.event) == ("aggregate", "stage-started")], "the slow stage"
    )
    return slow


async def seen(path: Path, pattern: str, seconds: float = 30) -> Path:
    """The first file that matches; looked for as often as the loop turns, because the moment matters."""
    async with asyncio.timeout(seconds):
        while not (found := sorted(path.glob(pattern))):  # noqa: ASYNC110, ASYNC240  a file system has no event for this
            await asyncio.sleep(0)
    return found[0]


async def seen_in_log(worker: WorkerProcess, event: str, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not worker.events(event):  # noqa: ASYNC110  a file has no event for this
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
async def test_a_worker_killed_while_it_publishes_and_its_successor_publish_once(
    execution: Execution, start_worker: Start, moment: str
) -> None:
    first, second = start_worker(), start_worker()
    deliver(first.lake, TENANT, date.fromisoformat(DAY))
    run_id = f"run-killed-{moment.split()[0]}"
    announced, other = await execution.announced(first.worker_id), await execution.announced(second.worker_id)
    before = await run_stages(execution, announced, run_id, DAY, "read", "check", "aggregate")
    doomed = reference(announced, "publish", DAY)
    await execution.order(doomed, run_id=run_id, inputs=before.outputs, ticket=ticket(DAY, 1))
    table = first.lake / TENANT / "prod" / "tables" / "revenue_kpi"
    # version 0 creates the table, version 1 publishes
    await seen(table, f"day={DAY}/part-*.parquet" if moment.startswith("before") else "_delta_log/00000000000000000001.json")
    first.signal(signal.SIGKILL)
    await first.ended()

    successor = reference(other, "publish", DAY, 2)
    await execution.order(successor, run_id=run_id, inputs=before.outputs, ticket=ticket(DAY, 2, superseded=(3,)))
    done = await execution.final(successor)

    assert isinstance(done, ReportTaskSucceeded)
    assert done.publication is not None
    (published,) = publications(first.lake)
    assert int(published["barecount.number"]) == done.publication.ticket
    if moment.startswith("after"):
        assert (done.publication.ticket, done.publication.already) == (3, True)


async def test_a_worker_frozen_past_its_lease_publishes_nothing_when_it_wakes_and_comes_back(
    execution: Execution, start_worker: Start
) -> None:
    frozen, second = start_worker(), start_worker()
    deliver(frozen.lake, TENANT, date.fromisoformat(DAY))
    announced, other = await execution.announced(frozen.worker_id), await execution.announced(second.worker_id)
    before = await run_stages(execution, announced, "run-frozen", DAY, "read", "check", "aggregate")
    stale = reference(announced, "publish", DAY)
    await execution.order(stale, run_id="run-frozen", inputs=before.outputs, ticket=ticket(DAY, 1), lease_seconds=3)
    await execution.until(
        lambda: [line for line in execution.logs("run-frozen") if (line.stage, line.event) == ("publish", "stage-started")],
        "the publish stage",
    )
    frozen.signal(signal.SIGSTOP)
    assert publications(frozen.lake) == [], "frozen too late to prove anything"

    successor = reference(other, "publish", DAY, 2)
    await execution.order(successor, run_id="run-frozen", inputs=before.outputs, ticket=ticket(DAY, 2, superseded=(3,)))
    done = await execution.final(successor)
    assert isinstance(done, ReportTaskSucceeded)
    frozen.signal(signal.SIGCONT)
    late = await execution.final(stale)
    await execution.interrupt("run-frozen", stale, "stale-attempt")

    assert isinstance(late, ReportTaskFailed)
    assert late.error_type == "fenced"
    again = await execution.announced(frozen.worker_id, after=1)
    assert again.incarnation == announced.incarnation
    (published,) = publications(frozen.lake)
    assert int(published["barecount.number"]) == 5
    # it works on
    await run_stages(execution, again, "run-afterwards", DAY, "read")


async def test_an_attempt_that_is_not_wanted_any_more_ends_at_once_and_says_so(execution: Execution, start_worker: Start) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    slow = await slow_task(execution, announced, "run-cancelled")

    await execution.interrupt("run-cancelled", slow, "run-cancelled")
    failed = await execution.final(slow, seconds=4)

    assert isinstance(failed, ReportTaskFailed)
    assert (failed.error_type, failed.retriable) == ("interrupted", True)
    # the same slot goes on
    (slot,) = worker.slots()
    await run_stages(execution, announced, "run-afterwards", DAY, "read")
    assert worker.slots() == [slot]


async def test_a_stale_attempt_ends_without_a_report_and_the_worker_announces_itself_again(
    execution: Execution, start_worker: Start
) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    slow = await slow_task(execution, announced, "run-stale")

    await execution.interrupt("run-stale", slow, "stale-attempt")

    again = await execution.announced(worker.worker_id, after=1)
    assert (again.incarnation, again.slots) == (announced.incarnation, 1)
    await run_stages(execution, again, "run-afterwards", DAY, "read")
    assert execution.reports(slow) == ["ReportTaskStarted"]


async def test_a_working_attempt_reports_three_times_a_lease(execution: Execution, start_worker: Start) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    slow = await slow_task(execution, announced, "run-long", lease_seconds=3)

    await execution.until(lambda: len(execution.alive(slow)) >= 3, "three signs of life", seconds=5)

    assert [one.sequence for one in execution.alive(slow)[:3]] == [1, 2, 3]


async def test_a_slot_that_crashes_fails_its_attempt_retriably_and_the_worker_goes_on(execution: Execution, start_worker: Start) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    slow = await slow_task(execution, announced, "run-crashed")

    (slot,) = worker.slots()
    os.kill(slot, signal.SIGKILL)
    failed = await execution.final(slow)

    assert isinstance(failed, ReportTaskFailed)
    assert (failed.error_type, failed.retriable) == ("slot-crashed", True)
    assert "SIGKILL" in failed.error_message
    await execution.until(
        lambda: [line for line in execution.logs("run-crashed") if line.error_type == "slot-crashed"], "a line about the crash"
    )
    await run_stages(execution, announced, "run-afterwards", DAY, "read")
    assert worker.slots() != [slot]


async def test_a_worker_that_is_asked_to_stop_takes_no_more_reports_its_work_as_interrupted_and_ends_cleanly(
    execution: Execution, start_worker: Start
) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    slow = await slow_task(execution, announced, "run-stopped")
    slots = worker.slots()

    worker.signal(signal.SIGTERM)

    failed = await execution.final(slow, seconds=10)
    assert isinstance(failed, ReportTaskFailed)
    assert (failed.error_type, failed.retriable) == ("interrupted", True)
    assert await worker.ended() == 0
    assert not any(os.path.exists(f"/proc/{slot}") for slot in slots)  # noqa: ASYNC240
    farewell, said = await execution.announced(worker.worker_id, slots=0), [one.payload for one in execution.said]
    assert said.index(farewell) < said.index(failed), "a slot that becomes free would be filled again"


async def test_a_restarted_worker_is_a_new_incarnation_and_does_nothing_of_its_former_life(
    execution: Execution, start_worker: Start
) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    slow = await slow_task(execution, announced, "run-restarted")
    worker.signal(signal.SIGKILL)
    await worker.ended()

    worker.start()
    again = await execution.announced(worker.worker_id, after=1)

    assert again.incarnation != announced.incarnation
    await run_stages(execution, again, "run-afterwards", DAY, "read")
    assert execution.reports(slow) == ["ReportTaskStarted"]


async def test_an_idle_worker_says_again_that_it_is_there_and_lets_its_slot_end(execution: Execution, start_worker: Start) -> None:
    worker = start_worker(announce_seconds="0.5", slot_idle_seconds="0.5")
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    await run_stages(execution, announced, "run-idle", DAY, "read")
    assert len(worker.slots()) == 1
    before = len(execution.of(AnnounceWorker, worker_id=worker.worker_id))

    await execution.announced(worker.worker_id, after=before + 3)

    assert worker.slots() == []
    ids = [one.envelope.id for one in execution.said if isinstance(one.payload, AnnounceWorker)]
    assert len(ids) == len(set(ids))
    await run_stages(execution, announced, "run-afterwards", DAY, "read")


async def test_two_slots_work_at_the_same_time(execution: Execution, start_worker: Start) -> None:
    worker = start_worker(slots="2")
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id, slots=2)
    slow = await slow_task(execution, announced, "run-slow")

    await run_stages(execution, announced, "run-quick", DAY, "read")

    assert execution.reports(slow) == ["ReportTaskStarted"]
    assert len(worker.slots()) == 2


@pytest.mark.parametrize("published_before", [False, True])
async def test_a_fence_ends_a_publication_and_names_what_was_published_before(
    execution: Execution, start_worker: Start, published_before: bool
) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    run_id = f"run-fenced-{published_before}"
    before = await run_stages(execution, announced, run_id, DAY, "read", "check", "aggregate")
    if published_before:
        publish = reference(announced, "publish", DAY)
        await execution.order(publish, run_id=run_id, inputs=before.outputs, ticket=ticket(DAY, 1))
        assert isinstance(await execution.final(publish), ReportTaskSucceeded)

    fence = reference(announced, "publish", DAY, 2)
    await execution.order(fence, run_id=run_id, inputs=before.outputs, ticket=ticket(DAY, 2, superseded=(3,)), purpose="fence")
    done = await execution.final(fence)

    assert isinstance(done, ReportTaskSucceeded)
    assert (done.publication and done.publication.ticket) == (3 if published_before else None)
    late = reference(announced, "publish", DAY, 3)
    await execution.order(late, run_id=run_id, inputs=before.outputs, ticket=ticket(DAY, 1))
    zombie = await execution.final(late)
    if published_before:
        assert isinstance(zombie, ReportTaskSucceeded)
        assert zombie.publication is not None
        assert zombie.publication.already
    else:
        assert isinstance(zombie, ReportTaskFailed)
        assert zombie.error_type == "fenced"
    assert len(publications(worker.lake)) == int(published_before)


async def test_reports_survive_a_broker_that_crashes_and_the_worker_announces_itself_again(
    kafka: Kafka, execution: Execution, start_worker: Start
) -> None:
    worker = start_worker()
    deliver(worker.lake, TENANT, date.fromisoformat(DAY))
    announced = await execution.announced(worker.worker_id)
    slow = await slow_task(execution, announced, "run-outage", lease_seconds=3)
    (slot,) = worker.slots()
    await asyncio.to_thread(kafka.kill)
    # what there is to say arises while nobody listens
    os.kill(slot, signal.SIGKILL)
    await seen_in_log(worker, "worker.report_retry")
    await asyncio.to_thread(kafka.start)

    failed = await execution.final(slow, seconds=60)

    assert isinstance(failed, ReportTaskFailed)
    assert failed.error_type == "slot-crashed"
    again = await execution.announced(worker.worker_id, after=1)
    await run_stages(execution, again, "run-afterwards", DAY, "read")
