"""Services killed at random while people, workers and receivers go on: each read model is then the one that the log makes anew.

Takes some minutes a seed, so only `make chaos` runs it.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import pytest
import yaml
from barecount_cli.errors import CliError
from barecount_local import sample
from barecount_local.demo import DAY, PIPELINE, TENANT
from barecount_local.ports import free_ports

from tests.support import judge
from tests.support.stack import Stack, stack

SEEDS = int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1"))
VICTIMS = ("command", "execution", "lineage", "evidence", "webhooks", "streams", "worker-1", "worker-2")
MODELS = ("command", "execution", "lineage", "evidence", "webhooks")
KILLS = 10

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.skipif(SEEDS == 1, reason="minutes: `make chaos` runs it"),
]


@contextmanager
def receiver() -> Iterator[int]:
    """Takes two calls and fails the third. Gives its port."""
    calls = count()

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(503 if next(calls) % 3 == 2 else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    (port,) = free_ports(1)
    server = ThreadingHTTPServer(("127.0.0.1", port), Takes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield port
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def restless() -> Iterator[Stack]:
    """A product with the sample's pipeline and an endpoint that hears of everything."""
    with (
        receiver() as port,
        stack(BARECOUNT_WEBHOOK_PRIVATE_TARGETS=f"127.0.0.1:{port}", BARECOUNT_WEBHOOK_RETRY_SECONDS=",".join(["0.5"] * 40)) as product,
    ):
        admin = product.client("tenant_admin")
        for name in sample.CONTRACTS:
            admin.write("POST", "/contracts", yaml.safe_load(sample.document(name)))
        admin.write("POST", "/pipelines", yaml.safe_load(sample.document(sample.MANIFEST)))
        admin.write("POST", f"/pipelines/{PIPELINE}/promote", {"from": "dev", "to": "prod"})
        admin.write("POST", "/webhooks", {"url": f"http://127.0.0.1:{port}/", "event_types": ["*"]})
        sample.deliver(product.data / "lake", TENANT, DAY)
        yield product


@pytest.mark.parametrize("seed", range(min(SEEDS, 5)))
def test_every_read_model_equals_a_clean_rebuild_after_random_restarts(restless: Stack, seed: int) -> None:
    dice, ended = random.Random(f"restarts {seed}"), threading.Event()
    asking = threading.Thread(target=_ask, args=(restless, seed, ended))
    asking.start()
    killed = []
    try:
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.3, 3.0))  # the seed's moments: when a kill falls is the subject
            victim = dice.choice(VICTIMS)
            with suppress(ProcessLookupError, TypeError):
                # one that is down already is hit by the next kill
                restless.kill(victim)
                killed.append(victim)
    finally:
        ended.set()
        asking.join(120)
    told = f"seed {seed}, killed {killed}"
    _settled(restless, told)
    for service in MODELS:
        ran = restless.run("rebuild", service, "--output", "json", check=False)
        assert ran.stdout, f"{service}: {ran.stderr}; {told}"
        done = json.loads(ran.stdout)[0]
        assert done.get("differences") == [], f"{service}: {done}; {told}"
        assert sum(done["tables"].values()) > 0
    judge.exactly_one_outcome(restless.librdkafka_admin())
    judge.runs_end_once(restless.librdkafka_admin())
    judge.ledger_is_complete(restless.librdkafka_admin())
    judge.one_commit_per_run(restless.data / "lake")


def _ask(product: Stack, seed: int, ended: threading.Event) -> None:
    """Runs, cancels and questions, one after the other; what a killed service does not answer is asked anew."""
    admin = product.client("tenant_admin")
    for number in count():
        if ended.wait(0.5):
            return
        run = f"restless_{seed}_{number}"
        with suppress(CliError, OSError):
            admin.write("POST", f"/pipelines/{PIPELINE}/runs", {"partition": str(DAY), "run_id": run})
        if number % 3 == 1:
            with suppress(CliError, OSError):
                admin.write("POST", f"/runs/{run}/cancel", {"reason": "not wanted"})
        with suppress(CliError, OSError):
            admin.get("/runs/nobody_ever_started")


def _settled(product: Stack, told: str, seconds: float = 240) -> None:
    """Every process is ready and behind in nothing, no run is open, and it stays so."""
    deadline, quiet = time.monotonic() + seconds, 0
    rows = {}
    while quiet < 3:
        assert time.monotonic() < deadline, (
            f"waited {seconds:.0f} s for quiet: {[(n, r['health'], r['lag']) for n, r in rows.items()]}; {told}"
        )
        rows = product.processes()
        still = all(row["health"] == "ready" and not row["lag"] for row in rows.values())
        quiet = quiet + 1 if still and not _open_runs(product) else 0
        time.sleep(0.5)  # nobody tells from outside


def _open_runs(product: Stack) -> bool:
    ends = judge.runs_end_once(product.librdkafka_admin())
    begun = {
        (event["tenant"], event["data"]["run_id"])
        for event in judge.read_topic(product.librdkafka_admin(), "runs.events").records.values()
        if event["type"] == "RunQueued"
    }
    return bool(begun - ends.keys())
