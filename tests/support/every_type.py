"""`python -m tests.support.every_type FOLDER PORT`: after the story, makes every other type of record happen on a running product.

FOLDER holds data/ and state/. A short lease (BARECOUNT_LEASE_SECONDS=6 at `barecount up`) makes it quick. Afterwards
`python -m tests.support.examples FOLDER/data` takes the examples.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml
from barecount_cli.client import Client
from barecount_cli.errors import ProblemError
from barecount_local import sample
from confluent_kafka import Producer

from tests.support.stack import Stack

PIPELINE, DAY = "revenue-kpi", "2025-10-04"
RUN, REPLAY = "rev_kpi_20251004_01", "rev_kpi_20251004_01-replay-1"
T = TypeVar("T")


def drive(product: Stack) -> None:
    admin, governance = product.client("tenant_admin"), product.client("governance")
    _schemas_and_pipelines(admin)
    _decisions(admin, governance)
    _garbage(product)
    _a_long_attempt_cancelled(product, admin)
    _a_frozen_worker(product, admin)


def _schemas_and_pipelines(admin: Client) -> None:
    schema = {"schemaType": "JSON", "schema": '{"type": "object", "properties": {"day": {"type": "string"}}}'}
    admin.write("POST", "/subjects/acme.examples/versions", schema)
    manifest: dict[str, Any] = yaml.safe_load(sample.document(sample.MANIFEST))
    name = f"revenue-kpi-trial-{int(time.time())}"
    manifest["name"] = name
    admin.write("POST", "/pipelines", manifest)
    admin.write("PUT", f"/pipelines/{name}", {**manifest, "description": "A trial of another definition."})
    admin.write("DELETE", f"/pipelines/{name}")


def _decisions(admin: Client, governance: Client) -> None:
    """What the ledger does not prove is refused; doing again what had succeeded waits for a person, who says no, then yes."""
    asked = {"run_id": REPLAY, "contract_version": "v3.2", "partition": DAY}
    refused(lambda: admin.write("POST", "/pipelines/replay", asked | {"partition": "2025-10-05"}, wait=30))
    for decision in ("reject", "approve"):
        event = admin.write("POST", "/pipelines/replay", asked, wait=30)["event"]
        assert event["type"] == "ApprovalRequested", event
        digest, request = event["data"]["plan_digest"], event["data"]["request_id"]
        told = {"request_id": request, "decision": decision, "reason": "Finance has asked for it.", "plan_digest": digest}
        made = governance.write("POST", "/governance/decisions", told, wait=30)
    ended = list(admin.follow_run(made["event"]["data"]["new_run_id"]))[-1]
    assert ended["status"] == "succeeded", ended
    # what has ended cannot be cancelled
    admin.write("POST", f"/runs/{RUN}/cancel", {"reason": "Too late."})


def _garbage(product: Stack) -> None:
    producer = Producer(product.librdkafka_admin())
    producer.produce("pipelines.commands", b"not a command", key=b"acme", partition=0)
    producer.flush(30)


def _a_long_attempt_cancelled(product: Stack, admin: Client) -> None:
    """The process that does the work is stopped, so that its worker reports it alive, until somebody cancels the run."""
    slots = [one for name in ("worker-1", "worker-2") for one in _slots(product, name)]
    _signal(slots, signal.SIGSTOP)
    try:
        admin.write("POST", f"/pipelines/{PIPELINE}/runs", {"partition": DAY, "run_id": "rev_kpi_20251004_02"})
        until(lambda: _attempt(admin, "rev_kpi_20251004_02"), "an attempt")
        time.sleep(5)  # as long as a report of life takes to be due
        admin.write("POST", "/runs/rev_kpi_20251004_02/cancel", {"reason": "The delivery is being repeated."})
        until(lambda: admin.get("/runs/rev_kpi_20251004_02")["status"] != "running", "the cancellation")
    finally:
        _signal(slots, signal.SIGCONT)
    assert list(admin.follow_run("rev_kpi_20251004_02"))[-1]["status"] == "cancelled"


def _a_frozen_worker(product: Stack, admin: Client) -> None:
    """A worker freezes past its lease, another one does the work, and the first one's late report is ignored."""
    run = f"rev_kpi_20251004_03_{int(time.time())}"
    slots = {name: _slots(product, name) for name in ("worker-1", "worker-2")}
    _signal([pid for pids in slots.values() for pid in pids], signal.SIGSTOP)
    admin.write("POST", f"/pipelines/{PIPELINE}/runs", {"partition": DAY, "run_id": run})
    frozen = until(lambda: _attempt(admin, run), "an attempt")
    product.kill(frozen, signal.SIGSTOP)
    try:
        _signal([pid for name, pids in slots.items() if name != frozen for pid in pids], signal.SIGCONT)
        assert list(admin.follow_run(run, timeout=90))[-1]["status"] == "succeeded"
    finally:
        product.kill(frozen, signal.SIGCONT)
        _signal(slots[frozen], signal.SIGCONT)
    until(lambda: any(one["worker_id"] == frozen and one["status"] == "announced" for one in admin.items("/workers")), f"{frozen} again")


def refused(act: Callable[[], object]) -> None:
    try:
        act()
    except ProblemError:
        return
    raise AssertionError("this should have been refused")


def until(look: Callable[[], T], what: str, seconds: float = 60) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)  # between two questions to the API
    return found


def _attempt(client: Client, run_id: str) -> str | None:
    stages = client.get(f"/runs/{run_id}")["stages"]
    return next((str(one["worker_id"]) for stage in stages for one in stage["attempts"] if one["ended_at"] is None), None)


def _slots(product: Stack, worker: str) -> list[int]:
    return [child.pid for child in psutil.Process(int(product.processes()[worker]["pid"])).children(recursive=True)]


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        if psutil.pid_exists(pid):
            os.kill(pid, number)


if __name__ == "__main__":
    drive(Stack(Path(sys.argv[1]), int(sys.argv[2])))
