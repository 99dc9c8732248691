"""What must not stop a partition, and what must not publish: foreign bytes in the inboxes, and a worker that freezes and wakes late."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest
import yaml
from barecount_cli.client import Client
from barecount_contracts import Envelope, bytes_digest, partition_of
from barecount_local import sample
from barecount_local.demo import DAY, PIPELINE, TENANT
from confluent_kafka import Producer

from tests.support import judge
from tests.support.stack import Stack, stack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

LEASE_SECONDS = 3
# runs that may come through before one is stopped between its data file and its commit
TRIES = 10
OWN = partition_of(TENANT, 4)
T = TypeVar("T")


@pytest.fixture(scope="module")
def product() -> Iterator[Stack]:
    with stack(BARECOUNT_LEASE_SECONDS=str(LEASE_SECONDS)) as running:
        admin = running.client("tenant_admin")
        for name in sample.CONTRACTS:
            admin.write("POST", "/contracts", yaml.safe_load(sample.document(name)))
        admin.write("POST", "/pipelines", yaml.safe_load(sample.document(sample.MANIFEST)))
        admin.write("POST", f"/pipelines/{PIPELINE}/promote", {"from": "dev", "to": "prod"})
        sample.deliver(running.data / "lake", TENANT, DAY)
        yield running


def until(look: Callable[[], T], what: str, seconds: float = 60) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)  # between two questions to the API
    return found


def unsigned(tenant: str = TENANT, type_: str = "DeletePipeline", data: dict[str, str] | None = None) -> bytes:
    """A well-formed command that nobody vouches for."""
    id_ = uuid4()
    body = {"id": str(id_), "type": type_, "version": 1, "tenant": tenant, "time": "2026-01-01T00:00:00Z", "correlation": str(id_)}
    return Envelope.model_validate({**body, "data": data or {"name": PIPELINE}}).to_bytes()


GARBAGE: dict[str, tuple[bytes | None, int, str]] = {
    "bytes that are not JSON": (b"\x00\xff\xfe not a command", OWN, "malformed-record"),
    "an empty value": (None, OWN, "malformed-record"),
    "JSON that is not an envelope": (b'{"hello": "world"}', OWN, "malformed-record"),
    "an unknown type": (unsigned(type_="DropEverything"), OWN, "unknown-type"),
    "a payload that does not fit": (unsigned(data={"nonsense": "x"}), OWN, "invalid-payload"),
    "a command without an assertion": (unsigned(), OWN, "unsigned-command"),
    "a key's record in another partition": (unsigned(), (OWN + 1) % 4, "wrong-partition"),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_in_the_inbox_becomes_a_rejection_and_the_partition_goes_on(product: Stack, what: str) -> None:
    value, partition, code = GARBAGE[what]
    where: list[tuple[int, int]] = []
    producer = Producer(product.librdkafka_admin())
    producer.produce(
        "pipelines.commands",
        value,
        key=TENANT.encode(),
        partition=partition,
        headers={"binary": b"\x80\x00"},
        on_delivery=lambda _, sent: where.append((sent.partition(), sent.offset())),
    )
    producer.flush(30)

    def rejected() -> list[dict[str, object]]:
        events = judge.read_topic(product.librdkafka_admin(), "control.events").records.values()
        return [event for event in events if (event["cause"]["partition"], event["cause"]["offset"]) == where[0]]

    [event] = until(rejected, f"the outcome of {what}")
    assert (event["type"], event["data"]["code"]) == ("RecordRejected", code)
    assert event["data"]["digest"] == bytes_digest(value or b"")
    assert product.client("operator").get(f"/pipelines/{PIPELINE}")["name"] == PIPELINE
    product.client("developer").write("POST", "/contracts", yaml.safe_load(sample.document(sample.CONTRACTS[0])))


def test_a_worker_that_freezes_past_its_lease_publishes_nothing(product: Stack) -> None:
    """The worker that has the attempt is stopped with its data in place and its commit still to come, another one finishes the run, and
    then the first one wakes."""
    admin = product.client("tenant_admin")
    run_id, frozen, pids = _frozen_before_its_commit(product, admin)
    try:
        run = list(admin.follow_run(run_id, timeout=90))[-1]
        assert run["status"] == "succeeded"
        ended = _ended(product, frozen)
    finally:
        _send(pids, signal.SIGCONT)
    assert any(one["worker_id"] != frozen for stage in run["stages"] for one in stage["attempts"])
    until(lambda: _ended(product, frozen) > ended, f"{frozen} to end its late attempt")
    until(lambda: any(row["worker_id"] == frozen and row["slots"] for row in admin.items("/workers")), f"{frozen} to announce itself again")
    judge.one_commit_per_run(product.data / "lake")
    assert len(_commits(product, run_id)) == 1
    ends = judge.runs_end_once(product.librdkafka_admin())
    assert ends[TENANT, run_id] == "RunSucceeded"
    judge.exactly_one_outcome(product.librdkafka_admin())


def test_a_cancelled_run_leaves_the_table_as_it_was(product: Stack) -> None:
    admin = product.client("tenant_admin")
    log = next((product.data / "lake").rglob("_delta_log"))
    before = [file.name for file in sorted(log.glob("*.json")) if "add" in file.read_text()]
    for worker in ("worker-1", "worker-2"):
        product.kill(worker, signal.SIGSTOP)
    try:
        admin.write("POST", f"/pipelines/{PIPELINE}/runs", {"partition": str(DAY), "run_id": "cancelled_01"})
        admin.write("POST", "/runs/cancelled_01/cancel", {"reason": "not wanted"})
        until(lambda: admin.get("/runs/cancelled_01")["status"] in ("cancelling", "cancelled"), "the run to be cancelling")
    finally:
        for worker in ("worker-1", "worker-2"):
            product.kill(worker, signal.SIGCONT)
    assert list(admin.follow_run("cancelled_01"))[-1]["status"] == "cancelled"
    with_data = [
        file.name for file in sorted(log.glob("*.json")) if any("add" in json.loads(line) for line in file.read_text().splitlines())
    ]
    assert with_data == before


def _frozen_before_its_commit(product: Stack, admin: Client) -> tuple[str, str, list[int]]:
    """A run, its worker, and the worker's processes, stopped. The moment is some milliseconds long: a run that came through is let go."""
    rows = product.processes()
    workers = {name: int(rows[name]["pid"]) for name in ("worker-1", "worker-2")}
    for number in range(1, TRIES + 1):
        run_id = f"frozen_worker_{number:02}"
        before, deadline = _placed(product), time.monotonic() + 60
        admin.write("POST", f"/pipelines/{PIPELINE}/runs", {"partition": str(DAY), "run_id": run_id})
        while _placed(product) == before:
            assert time.monotonic() < deadline, f"{run_id} placed no file in 60 s"
        pids = {name: _with_its_slots(pid) for name, pid in workers.items()}
        _send([pid for found in pids.values() for pid in found], signal.SIGSTOP)
        committed = _commits(product, run_id)
        frozen = None if committed else until(lambda: _publishing(admin, run_id), "the attempt to publish in the run's rows")  # noqa: B023
        _send([pid for name, found in pids.items() if name != frozen for pid in found], signal.SIGCONT)
        if frozen is not None:
            return run_id, frozen, pids[frozen]
        assert list(admin.follow_run(run_id))[-1]["status"] == "succeeded"
    raise AssertionError(f"{TRIES} runs committed before their worker was stopped: the moment between file and commit was not met")


def _with_its_slots(pid: int) -> list[int]:
    """The processes of a worker, the slots first: they are the ones that publish."""
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()), pid]


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


def _placed(product: Stack) -> set[str]:
    """The data files in the table's folder, committed or not."""
    return {str(file) for file in (product.data / "lake").glob("*/*/tables/*/*/part-*.parquet")}


def _commits(product: Stack, run_id: str) -> list[str]:
    """The commits with data that a run made."""
    files = (product.data / "lake").glob("*/*/tables/*/_delta_log/*.json")
    told = {file.name: [json.loads(line) for line in file.read_text().splitlines()] for file in files}
    return [
        name
        for name, actions in told.items()
        if any("add" in one for one in actions) and any(one.get("commitInfo", {}).get("barecount.run_id") == run_id for one in actions)
    ]


def _ended(product: Stack, worker: str) -> int:
    """How many attempts this worker has ended."""
    return (product.data / "logs" / f"{worker}.log").read_text().count("worker.task_ended")


def _publishing(client: Client, run_id: str) -> str | None:
    """The worker of the run's open attempt to publish, if there is one now."""
    for stage in client.get(f"/runs/{run_id}")["stages"]:
        for attempt in stage["attempts"]:
            if stage["stage"] == "publish" and attempt["status"] in ("started", "running", "dispatched"):
                return str(attempt["worker_id"])
    return None
