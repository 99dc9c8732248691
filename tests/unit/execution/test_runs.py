"""How a run goes from admission to its end."""

from __future__ import annotations

from datetime import timedelta

from barecount_contracts import (
    DataPartitionPublished,
    PublishTicketGranted,
    RunCancelled,
    RunFailed,
    RunSucceeded,
    TaskDispatched,
    TaskFailed,
    TaskProgressed,
    TaskRetryScheduled,
    TickRecorded,
)

from tests.unit.execution.world import BEGIN, DIGEST, World, manifest, names, one, success


def test_a_run_waits_while_no_worker_announced_itself() -> None:
    world = World()
    assert names(world.admit()) == ["RunQueued"]
    assert not world.tasks


def test_a_run_starts_with_the_worker_that_announces_itself() -> None:
    world = World()
    world.admit()
    assert names(world.announce()) == ["WorkerAnnounced", "RunStarted", "TaskDispatched"]
    assert world.task.task.worker_id == "w1"
    assert world.task.purpose == "execute"


def test_a_run_is_dispatched_at_once_when_a_slot_is_free() -> None:
    world = World()
    world.announce()
    assert names(world.admit()) == ["RunQueued", "RunStarted", "TaskDispatched"]


def test_the_stages_follow_each_other_and_the_next_gets_what_the_ones_before_staged() -> None:
    world = World()
    world.announce()
    world.admit()
    assert names(world.started()) == ["TaskStarted"]
    assert names(world.succeeded(dead=2)) == ["TaskSucceeded", "TaskDispatched"]
    assert [output.name for output in world.task.inputs] == ["read"]
    assert world.task.totals_so_far.dead_lettered == 2
    assert names(world.succeeded()) == ["TaskSucceeded", "TaskDispatched", "PublishTicketGranted"]
    assert [output.name for output in world.task.inputs] == ["read", "aggregate"]
    assert world.task.ticket is not None
    assert (world.task.ticket.app_id, world.task.ticket.fence, world.task.ticket.number) == ("acme/prod/revenue-kpi/2025-10-04", 2, 3)
    assert world.task.ticket.table == "tables/kpi"
    assert names(world.later(3).succeeded()) == ["TaskSucceeded", "DataPartitionPublished", "RunSucceeded"]


def test_a_run_that_succeeded_states_its_figures() -> None:
    world = World()
    world.announce()
    world.admit()
    world.succeeded(dead=3)
    world.later(2.5).succeeded()
    totals = one(world.succeeded(), RunSucceeded).totals
    assert (totals.records_in, totals.records_out, totals.dead_lettered, totals.error_rate) == (1000, 7, 3, "0.003000")
    assert (totals.duration_ms, totals.reconciled) == (2500, True)


def test_every_event_of_a_run_carries_the_chain_and_the_tenant_that_began_it() -> None:
    world = World()
    world.admit()
    world.announce()
    world.alive()
    world.silent()
    world.announce()
    for _ in range(3):
        world.succeeded()
    chain = world.events[0].correlation
    of_run = [event for event in world.events if event.data.get("run_id") == "run_1"]
    assert of_run[-1].type == "RunSucceeded"
    assert {event.correlation for event in of_run} == {chain}
    assert {event.tenant for event in of_run} == {"acme"}
    assert {emit.correlation for emit in world.answers} == {chain}


def test_each_data_partition_goes_its_own_way_in_as_many_slots_as_there_are() -> None:
    world = World()
    world.announce("w1", slots=2)
    world.announce("w2", slots=1)
    world.admit("run_1", "2025-10-01", "2025-10-02", "2025-10-03", "2025-10-04")
    assert len(world.tasks) == 3
    assert {t.task.data_partition for t in world.tasks} == {"2025-10-01", "2025-10-02", "2025-10-03"}
    ends = [names(world.succeeded(world.tasks[index]))[-1] for index in range(12)]
    assert ends.index("RunSucceeded") == 11
    assert not world.state.runs
    assert not world.state.leases


def test_a_beat_extends_the_lease() -> None:
    world = World()
    world.announce()
    world.admit()
    assert world.state.deadline() == BEGIN + timedelta(seconds=10)
    beat = one(world.later(6).alive(), TaskProgressed)
    assert beat.lease_until == BEGIN + timedelta(seconds=16)
    assert names(world.later(9).tick()) == ["TickRecorded"]


def test_a_tick_when_nothing_is_due_is_recorded() -> None:
    assert names(World().tick()) == ["TickRecorded"]
    assert World().state.deadline() is None


def test_an_error_that_may_pass_is_tried_again_after_a_wait_that_doubles() -> None:
    world = World()
    world.announce()
    world.admit()
    failed = world.failed(retriable=True)
    assert names(failed) == ["TaskFailed", "TaskRetryScheduled"]
    assert one(failed, TaskRetryScheduled).not_before == BEGIN + timedelta(seconds=2)
    assert world.state.deadline() == BEGIN + timedelta(seconds=2)
    assert names(world.later(1.9).tick()) == ["TickRecorded"]
    assert names(world.later(0.1).tick()) == ["TaskDispatched"]
    assert world.task.task.attempt == 2
    second = one(world.failed(retriable=True), TaskRetryScheduled)
    assert second.not_before - world.now == timedelta(seconds=4)


def test_a_due_retry_without_a_slot_does_not_ask_for_ticks_for_ever() -> None:
    world = World()
    world.announce()
    world.admit()
    world.failed(retriable=True)
    world.announce(slots=0)
    assert names(world.later(5).tick()) == ["TickRecorded"]
    assert world.state.deadline() is None
    assert names(world.announce(slots=1)) == ["WorkerAnnounced", "TaskDispatched"]


def test_after_the_last_attempt_the_run_fails() -> None:
    world = World()
    world.announce()
    world.admit(document=manifest(attempts=2))
    world.failed(retriable=True)
    world.later(2).tick()
    ended = world.failed(retriable=True, error="io")
    assert names(ended) == ["TaskFailed", "RunFailed"]
    assert (one(ended, RunFailed).stage, one(ended, RunFailed).error_type) == ("read", "io")


def test_an_error_that_cannot_pass_fails_the_run_at_once_with_its_figures() -> None:
    world = World()
    world.announce()
    world.admit()
    run = one(world.later(1).failed(), RunFailed)
    assert (run.error_type, run.error_message, run.totals.records_in, run.totals.error_rate) == (
        "contract-violated",
        "it broke",
        1000,
        "0.004000",
    )
    assert run.totals.duration_ms == 1000
    assert run.totals.reconciled is None


def test_a_publish_stage_that_failed_for_good_needs_no_fence() -> None:
    world = World()
    world.announce()
    world.admit()
    world.succeeded()
    world.succeeded()
    assert names(world.failed(error="reconciliation-failed")) == ["TaskFailed", "RunFailed"]


def test_a_failing_run_ends_only_when_its_other_tasks_are_closed() -> None:
    world = World()
    world.announce(slots=2)
    world.admit("run_1", "2025-10-01", "2025-10-02", "2025-10-03")
    first, second = world.tasks
    assert names(world.failed(first)) == ["TaskFailed"]
    assert world.interrupts[-1].task == second.task
    assert len(world.tasks) == 2
    assert names(world.later(5).alive(second)) == ["TaskProgressed"]
    ended = world.failed(second, error="interrupted")
    assert names(ended) == ["TaskFailed", "RunFailed"]
    assert one(ended, RunFailed).error_type == "contract-violated"


def test_an_interrupted_attempt_cannot_prolong_its_lease() -> None:
    world = World()
    world.announce()
    world.admit()
    world.stop()
    beat = one(world.later(9).alive(), TaskProgressed)
    assert beat.lease_until == BEGIN + timedelta(seconds=10)
    assert names(world.later(1).tick()) == ["TaskLeaseExpired", "RunCancelled"]


def test_a_queued_run_is_cancelled_at_once_and_never_starts() -> None:
    world = World()
    world.admit()
    assert names(world.stop()) == ["RunCancelled"]
    assert names(world.announce()) == ["WorkerAnnounced"]


def test_a_running_run_is_interrupted_and_ends_when_its_task_closes() -> None:
    world = World()
    world.announce()
    world.admit()
    assert names(world.stop()) == ["RunCancelling"]
    assert world.interrupts[-1].task == world.task.task
    ended = world.failed(error="interrupted")
    assert names(ended) == ["TaskFailed", "RunCancelled"]
    assert one(ended, RunCancelled).reason == "not needed"
    assert len(world.tasks) == 1


def test_cancelling_twice_interrupts_once_and_keeps_the_first_reason() -> None:
    world = World()
    world.announce()
    world.admit()
    world.stop()
    assert names(world.stop()) == ["RunCancelling"]
    assert len(world.interrupts) == 1


def test_a_run_that_waits_for_its_retry_is_cancelled_without_a_task() -> None:
    world = World()
    world.announce()
    world.admit()
    world.failed(retriable=True)
    assert names(world.stop()) == ["RunCancelling", "RunCancelled"]
    assert names(world.later(60).tick()) == ["TickRecorded"]


def test_a_publication_that_its_report_does_not_name_is_asked_for_again() -> None:
    world = World()
    world.announce()
    world.admit()
    world.succeeded()
    world.succeeded()
    ticket = world.task.ticket
    assert ticket is not None
    wrong = world.send(success(world.task).model_copy(update={"publication": None}))
    assert names(wrong) == ["TaskFailed", "TaskRetryScheduled"]
    assert one(wrong, TaskFailed).error_type == "report-incomplete"
    assert names(world.later(2).tick()) == ["TaskDispatched", "PublishTicketGranted"]
    assert world.task.ticket is not None
    assert world.task.ticket.superseded == (ticket.number,)


def test_bodies_are_kept_once_for_all_runs_that_share_them_and_forgotten_with_the_last() -> None:
    world = World()
    world.admit("run_1")
    world.admit("run_2")
    world.admit("run_3", document=manifest(attempts=5))
    first, second = (world.state.runs["acme", run_id] for run_id in ("run_1", "run_2"))
    assert first.bodies is second.bodies
    assert len(world.state.bodies) == 2
    for run_id in ("run_1", "run_2", "run_3"):
        world.stop(run_id)
    assert not world.state.bodies


def test_ticket_numbers_rise_over_runs_of_the_same_data_partition() -> None:
    world = World()
    world.announce()
    numbers = []
    for run_id in ("run_1", "run_2"):
        world.admit(run_id)
        world.succeeded()
        granted = one(world.succeeded(), PublishTicketGranted)
        numbers += [granted.ticket.fence, granted.ticket.number]
        assert granted.ticket.superseded == ()
        assert one(world.succeeded(), DataPartitionPublished).publication.files_digest == DIGEST
    assert numbers == [2, 3, 4, 5]


def test_a_tick_event_is_the_only_answer_to_a_tick_without_consequence() -> None:
    world = World()
    world.announce()
    assert isinstance(world.tick()[0], TickRecorded)
    world.admit()
    assert one([e.payload() for e in world.events], TaskDispatched).lease_until == world.now + timedelta(seconds=10)
