"""What happens to attempts whose worker is silent or gone, and to publications that they may have left behind."""

from __future__ import annotations

from datetime import timedelta

from barecount_contracts import (
    DataPartitionPublished,
    PublishTicketGranted,
    ReportIgnored,
    RunCancelled,
    RunFailed,
    RunSucceeded,
    TaskDispatched,
    TaskRetryScheduled,
)
from barecount_execution.domain.lane import Waiting

from tests.unit.execution.world import DAY, World, manifest, names, one, published


def at_publish(world: World, *, attempts: int = 3, workers: tuple[str, ...] = ("w1",)) -> World:
    """A run whose publish attempt is open."""
    world.admit(document=manifest(attempts=attempts))
    for worker in workers:
        world.announce(worker)
    world.succeeded()
    world.succeeded()
    assert world.task.task.stage == "publish"
    return world


def test_a_worker_that_is_silent_loses_its_attempt_and_gets_nothing_more() -> None:
    world = World()
    world.announce()
    world.admit()
    assert names(world.silent()) == ["TaskLeaseExpired", "TaskRetryScheduled"]
    assert names(world.later(60).tick()) == ["TickRecorded"]
    world.admit("run_2")
    assert len(world.tasks) == 1
    assert names(world.announce()) == ["WorkerAnnounced", "TaskDispatched"]
    assert world.task.run_id == "run_1"
    assert world.task.task.attempt == 2


def test_an_attempt_that_was_never_heard_of_gets_its_lease_once_more_from_the_tick_that_finds_it_overdue() -> None:
    world = World()
    world.announce()
    world.admit()
    # the owner was away: the tick comes long after the lease of a dispatch that the worker could not see before
    assert names(world.later(3600).tick()) == ["TickRecorded"]
    assert world.state.deadline() == world.now + timedelta(seconds=10)
    assert names(world.later(9).started()) == ["TaskStarted"]
    assert names(world.later(10).tick()) == ["TaskLeaseExpired", "TaskRetryScheduled"]


def test_an_attempt_that_was_heard_of_gets_no_second_chance() -> None:
    world = World()
    world.announce()
    world.admit()
    world.started()
    assert names(world.later(10).tick()) == ["TaskLeaseExpired", "TaskRetryScheduled"]


def test_a_tick_may_spare_one_attempt_and_lose_another() -> None:
    world = World()
    world.announce(slots=2)
    world.admit("run_1", "2025-10-01", "2025-10-02")
    world.started(world.tasks[0])
    assert names(world.later(10).tick()) == ["TickRecorded", "TaskLeaseExpired", "TaskRetryScheduled"]
    assert list(world.state.leases) == [world.tasks[1].task.nonce]


def test_a_lost_attempt_goes_to_another_worker_in_the_same_decision() -> None:
    world = World()
    world.announce("w1")
    world.admit()
    world.announce("w2")
    answer = world.silent()
    assert names(answer) == ["TaskLeaseExpired", "TaskRetryScheduled", "TaskDispatched"]
    assert one(answer, TaskDispatched).task.worker_id == "w2"


def test_a_new_incarnation_loses_what_the_old_one_had_at_once() -> None:
    world = World()
    world.announce("w1", "a", slots=2)
    world.admit("run_1", "2025-10-01", "2025-10-02")
    answer = world.later(1).announce("w1", "b", slots=2)
    assert names(answer)[0] == "WorkerAnnounced"
    assert names(answer).count("TaskLeaseExpired") == 2
    assert names(answer).count("TaskDispatched") == 2
    assert {task.task.incarnation for task in world.tasks[2:]} == {"b"}
    assert one(world.succeeded(world.tasks[0]), ReportIgnored).code == "stale-attempt"


def test_the_same_incarnation_that_announces_itself_again_keeps_its_attempts() -> None:
    world = World()
    world.announce()
    world.admit()
    assert names(world.announce()) == ["WorkerAnnounced"]
    assert names(world.started()) == ["TaskStarted"]


def test_a_run_whose_worker_is_lost_at_every_attempt_fails_as_worker_lost() -> None:
    world = World()
    world.admit(document=manifest(attempts=2))
    world.announce()
    world.silent()
    world.announce()
    ended = world.silent()
    assert names(ended) == ["TaskLeaseExpired", "RunFailed"]
    assert one(ended, RunFailed).error_type == "worker-lost"


def test_a_lost_publication_is_tried_again_under_a_higher_number_that_names_the_lost_one() -> None:
    world = at_publish(World())
    first = world.task.ticket
    assert first is not None
    world.silent()
    granted = one(world.announce(), PublishTicketGranted)
    assert granted.ticket.superseded == (first.number,)
    assert granted.ticket.fence > first.number
    found = world.succeeded(publication=published(world.task, ticket=first.number, already=True))
    assert names(found) == ["TaskSucceeded", "DataPartitionPublished", "RunSucceeded"]


def test_a_run_that_lost_its_last_publication_is_fenced_before_it_fails() -> None:
    world = at_publish(World(), attempts=1, workers=("w1", "w2"))
    lost = world.task
    assert lost.ticket is not None
    answer = world.silent()
    assert names(answer) == ["TaskLeaseExpired", "TaskDispatched", "PublishTicketGranted"]
    assert one(answer, TaskDispatched).purpose == "fence"
    assert world.task.purpose == "fence"
    assert world.task.task.worker_id != lost.task.worker_id
    assert world.task.ticket is not None
    assert world.task.ticket.superseded == (lost.ticket.number,)
    ended = world.succeeded()
    assert names(ended) == ["TaskSucceeded", "RunFailed"]
    assert one(ended, RunFailed).error_type == "worker-lost"


def test_a_publication_whose_last_attempt_does_not_know_its_outcome_is_fenced_too() -> None:
    world = at_publish(World(), attempts=1)
    assert names(world.failed(retriable=True, error="io-error")) == ["TaskFailed", "TaskDispatched", "PublishTicketGranted"]
    assert world.task.purpose == "fence"
    ended = world.succeeded()
    assert one(ended, RunFailed).error_type == "io-error"


def test_an_interrupted_attempt_that_was_never_heard_of_is_not_waited_for_twice() -> None:
    world = World()
    world.announce()
    world.admit()
    world.stop()
    assert names(world.later(10).tick()) == ["TaskLeaseExpired", "RunCancelled"]


def test_each_data_partition_is_fenced_by_itself() -> None:
    world = World()
    world.announce(slots=2)
    world.admit("run_1", "2025-10-01", "2025-10-02")
    for _ in range(4):
        world.succeeded(world.tasks[[t.task.nonce in world.state.leases for t in world.tasks].index(True)])
    first, second = world.tasks[-2:]
    assert {first.task.stage, second.task.stage} == {"publish"}
    world.stop()
    world.failed(first, error="interrupted")
    fence = world.task
    assert (fence.purpose, fence.task.data_partition) == ("fence", first.task.data_partition)
    assert names(world.succeeded(fence)) == ["TaskSucceeded"]
    assert not world.state.runs["acme", "run_1"].lane(first.task.data_partition).doubtful
    assert names(world.succeeded(second)) == ["TaskSucceeded", "DataPartitionPublished", "RunCancelled"]


def test_a_fence_that_finds_the_publication_makes_the_run_succeed() -> None:
    world = at_publish(World(), attempts=1, workers=("w1", "w2"))
    lost = world.task
    assert lost.ticket is not None
    world.silent()
    ended = world.succeeded(publication=published(world.task, ticket=lost.ticket.number, already=True))
    assert names(ended) == ["TaskSucceeded", "DataPartitionPublished", "RunSucceeded"]
    assert one(ended, DataPartitionPublished).publication.ticket == lost.ticket.number
    assert one(ended, RunSucceeded).totals.records_out == 7
    assert one(ended, RunSucceeded).totals.records_in == 1000


def test_a_cancelled_run_waits_for_its_open_publication_and_then_fences_it() -> None:
    world = at_publish(World())
    assert names(world.stop()) == ["RunCancelling"]
    assert names(world.failed(error="interrupted")) == ["TaskFailed", "TaskDispatched", "PublishTicketGranted"]
    assert world.task.purpose == "fence"
    assert names(world.succeeded()) == ["TaskSucceeded", "RunCancelled"]


def test_a_publication_that_was_faster_than_the_cancel_wins() -> None:
    world = at_publish(World())
    world.stop()
    assert names(world.succeeded()) == ["TaskSucceeded", "DataPartitionPublished", "RunSucceeded"]


def test_a_fence_after_a_cancel_that_finds_the_publication_makes_the_run_succeed() -> None:
    world = at_publish(World())
    ticket = world.task.ticket
    assert ticket is not None
    world.stop()
    world.silent()
    world.announce()
    ended = world.succeeded(publication=published(world.task, ticket=ticket.number, already=True))
    assert names(ended)[-1] == "RunSucceeded"


def test_cancelling_while_a_lost_publication_waits_for_its_retry_fences_it() -> None:
    world = at_publish(World())
    world.silent()
    assert names(world.stop()) == ["RunCancelling"]
    assert names(world.announce()) == ["WorkerAnnounced", "TaskDispatched", "PublishTicketGranted"]
    assert world.task.purpose == "fence"
    assert one(world.succeeded(), RunCancelled).reason == "not needed"


def test_a_fence_is_tried_until_one_succeeds_and_each_has_a_higher_number() -> None:
    world = at_publish(World(), attempts=1)
    world.silent()
    world.announce()
    seen = [world.task.ticket]
    for wait in (2, 4, 8):
        failed = world.failed(error="io")
        assert (one(failed, TaskRetryScheduled).not_before - world.now).total_seconds() == wait
        assert world.state.runs["acme", "run_1"].lane(DAY).step == Waiting(world.now + timedelta(seconds=wait), fence=True)
        world.later(wait).tick()
        assert world.task.purpose == "fence"
        seen.append(world.task.ticket)
    world.silent()
    assert names(world.announce()) == ["WorkerAnnounced", "TaskDispatched", "PublishTicketGranted"]
    seen.append(world.task.ticket)
    numbers = [ticket.number for ticket in seen if ticket is not None]
    assert numbers == sorted(set(numbers))
    assert world.task.ticket is not None
    assert len(world.task.ticket.superseded) == 5
    assert names(world.succeeded()) == ["TaskSucceeded", "RunFailed"]


def test_a_fence_goes_before_everything_that_waits() -> None:
    world = at_publish(World(), attempts=1)
    world.admit("run_2")
    world.silent()
    world.announce()
    assert (world.task.run_id, world.task.purpose) == ("run_1", "fence")


def test_a_fence_beats_and_keeps_its_lease_though_its_run_is_closing() -> None:
    world = at_publish(World(), attempts=1)
    world.silent()
    world.announce()
    world.later(8).alive()
    assert names(world.later(8).tick()) == ["TickRecorded"]


def test_what_was_published_before_stays_published_when_another_data_partition_fails() -> None:
    world = World()
    world.announce()
    world.admit("run_1", "2025-10-01", "2025-10-02")
    for _ in range(3):
        world.succeeded()
    ended = one(world.failed(), RunFailed)
    assert ended.totals.records_out == 7
    assert [event.type for event in world.events].count("DataPartitionPublished") == 1
