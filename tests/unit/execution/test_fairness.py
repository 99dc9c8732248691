"""Whose turn it is when a slot is free."""

from __future__ import annotations

from tests.unit.execution.world import READ, World, manifest

ONE_STAGE = manifest(stages=(READ,))


def served(world: World) -> list[str]:
    """Runs in the order in which a single slot served them, until nobody waits."""
    order = []
    while world.state.leases:
        order.append(world.task.run_id)
        world.succeeded()
    return order


def test_a_tenant_with_one_run_does_not_wait_behind_the_many_of_another() -> None:
    world = World()
    for number in range(5):
        world.admit(f"big_{number}", tenant="big", document=ONE_STAGE)
    world.admit("small_0", tenant="small", document=ONE_STAGE)
    world.announce()
    assert served(world) == ["big_0", "small_0", "big_1", "big_2", "big_3", "big_4"]


def test_tenants_take_turns() -> None:
    world = World()
    for number in range(2):
        for tenant in ("a", "b", "c"):
            world.admit(f"{tenant}{number}", tenant=tenant, document=ONE_STAGE)
    world.announce()
    assert served(world) == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_a_slot_goes_to_the_tenant_that_holds_fewest() -> None:
    world = World()
    for number in range(4):
        world.admit(f"a{number}", tenant="a", document=ONE_STAGE)
    world.announce(slots=3)
    world.admit("b0", tenant="b", document=ONE_STAGE)
    world.admit("b1", tenant="b", document=ONE_STAGE)
    world.succeeded(world.tasks[0])
    assert world.task.run_id == "b0"
    # now both hold one: the tenant that was served longer ago
    world.succeeded(world.tasks[1])
    assert world.task.run_id == "a3"
    world.succeeded(world.tasks[2])
    assert world.task.run_id == "b1"


def test_who_holds_nothing_goes_before_who_holds_much_though_it_was_served_later() -> None:
    world = World()
    for number in range(4):
        world.admit(f"a{number}", tenant="a", document=ONE_STAGE)
    world.announce("w1", slots=2)
    world.admit("b0", tenant="b", document=ONE_STAGE)
    world.admit("b1", tenant="b", document=ONE_STAGE)
    world.announce("w2", slots=1)
    assert world.task.run_id == "b0"
    world.succeeded()
    assert world.task.run_id == "b1"


def test_a_run_under_way_goes_before_the_next_of_the_same_tenant() -> None:
    world = World()
    world.admit("run_1")
    world.admit("run_2")
    world.announce()
    assert served(world) == ["run_1"] * 3 + ["run_2"] * 3


def test_work_goes_to_the_worker_with_most_free_slots() -> None:
    world = World()
    world.announce("w1", slots=1)
    world.announce("w2", slots=2)
    world.admit("run_1", "2025-10-01", "2025-10-02", "2025-10-03", document=ONE_STAGE)
    assert sorted(task.task.worker_id for task in world.tasks) == ["w1", "w2", "w2"]


def test_an_attempt_that_failed_is_tried_on_another_worker_if_there_is_one() -> None:
    world = World()
    world.announce("w1")
    world.admit(document=ONE_STAGE)
    world.announce("w2")
    world.failed(retriable=True)
    world.later(2).tick()
    assert world.task.task.worker_id == "w2"


def test_pools_do_not_share_workers() -> None:
    world = World()
    world.announce("w1", pool="gpu")
    world.admit(document=ONE_STAGE, pool="default")
    assert not world.tasks
