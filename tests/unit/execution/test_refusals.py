"""What execution does not take, and says so."""

from __future__ import annotations

from barecount_contracts import AdmitRun, CommandRefused, ReportIgnored, RunRefused, StartRun

from tests.unit.execution.world import DIGEST, World, bodies, manifest, names, one, plan, success


def test_a_run_id_that_was_admitted_before_is_refused() -> None:
    world = World()
    world.admit()
    assert one(world.admit(), RunRefused).code == "run-exists"


def test_the_id_of_a_run_that_ended_is_refused_too() -> None:
    world = World()
    world.admit()
    world.stop()
    assert one(world.admit(), RunRefused).code == "run-exists"


def test_another_tenant_may_choose_the_same_run_id() -> None:
    world = World()
    world.admit(tenant="acme")
    assert names(world.admit(tenant="globex")) == ["RunQueued"]
    world.stop(tenant="globex")
    assert ("acme", "run_1") in world.state.runs


def test_a_run_in_the_partition_of_another_pool_is_refused() -> None:
    world = World()
    world.admit(pool="default")
    answer = world.announce(pool="gpu", key="default")
    assert one(answer, CommandRefused).code == "wrong-partition"
    assert not world.state.workers


def test_a_manifest_that_cannot_be_run_is_refused() -> None:
    world = World()
    broken = manifest()
    broken["stages"][2] = {**broken["stages"][2], "sink": "nowhere"}
    assert one(world.admit(document=broken), RunRefused).code == "invalid-manifest"


def test_bodies_that_no_task_could_carry_are_refused() -> None:
    world = World()
    assert one(world.admit(document={**manifest(), "description": "x" * 600_001}), RunRefused).code == "payload-too-large"


def test_a_manifest_that_is_not_the_plans_is_refused() -> None:
    world = World()
    other = AdmitRun(run_id="run_1", pool="default", plan=plan(), plan_digest=DIGEST, bodies=bodies(manifest(attempts=5)))
    assert one(world.send(other), RunRefused).code == "invalid-manifest"


def test_a_run_without_a_contract_that_its_manifest_names_is_refused() -> None:
    world = World()
    less = bodies().model_copy(update={"contracts": bodies().contracts[:1]})
    answer = world.send(AdmitRun(run_id="run_1", pool="default", plan=plan(), plan_digest=DIGEST, bodies=less))
    assert one(answer, RunRefused).code == "unknown-contract-version"
    assert names(world.admit()) == ["RunQueued"]


def test_a_command_of_another_inbox_is_refused() -> None:
    world = World()
    assert one(world.send(StartRun(pipeline="p", data_partition="2025-10-04")), CommandRefused).code == "unknown-type"


def test_stopping_what_does_not_exist_is_refused() -> None:
    assert one(World().stop(), RunRefused).code == "run-not-found"


def test_stopping_a_run_of_another_tenant_is_refused_as_if_it_did_not_exist() -> None:
    world = World()
    world.admit(tenant="acme")
    assert one(world.stop(tenant="globex"), RunRefused).code == "run-not-found"


def test_stopping_a_run_that_ended_is_refused() -> None:
    world = World()
    world.admit()
    world.stop()
    assert one(world.stop(), RunRefused).code == "run-ended"


def test_a_report_of_an_earlier_attempt_is_ignored_and_its_worker_told_to_stop() -> None:
    world = World()
    world.announce("w1")
    world.admit()
    lost = world.task
    world.silent()
    world.announce("w2")
    assert world.task.task.attempt == 2
    ignored = one(world.succeeded(lost), ReportIgnored)
    assert ignored.code == "stale-attempt"
    assert world.interrupts[-1].task == lost.task
    assert world.answers[-1].key == "w1"


def test_a_report_with_an_invented_nonce_is_ignored() -> None:
    world = World()
    world.announce()
    world.admit()
    forged = success(world.task)
    forged = forged.model_copy(update={"task": forged.task.model_copy(update={"nonce": "guessed"})})
    assert one(world.send(forged), ReportIgnored).code == "stale-attempt"
    assert one(world.started(), type(world.started()[0])).task == world.task.task


def test_the_right_nonce_from_another_worker_is_ignored() -> None:
    world = World()
    world.announce()
    world.admit()
    forged = success(world.task)
    forged = forged.model_copy(update={"task": forged.task.model_copy(update={"worker_id": "w9"})})
    assert one(world.send(forged), ReportIgnored).code == "stale-attempt"


def test_a_report_about_a_run_that_ended_is_ignored() -> None:
    world = World()
    world.announce()
    world.admit()
    task = world.task
    world.stop()
    world.failed(task)
    assert one(world.succeeded(task), ReportIgnored).code == "run-ended"


def test_a_report_about_a_run_that_never_was_is_ignored() -> None:
    world = World()
    world.announce()
    world.admit()
    report = success(world.task).model_copy(update={"run_id": "other"})
    assert one(world.send(report), ReportIgnored).code == "run-not-found"


def test_a_success_reported_twice_counts_once() -> None:
    world = World()
    world.announce()
    world.admit()
    task = world.task
    world.succeeded(task)
    assert one(world.succeeded(task), ReportIgnored).code == "stale-attempt"
