"""Poison on every topic that a service reads: it is parked or rejected with its reason, an operator sees it, and the partition goes on.

The judges are `barecount status`, /metrics and the broker's own positions. Not here: what an owner's own events topic and the ledger do
(they stop, and say so: tests/integration/eventlog/test_restore.py).
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from barecount_contracts import catalogue
from confluent_kafka import Producer

from tests.support.stack import Stack

EXAMPLES = Path(__file__).resolve().parents[2] / "contracts" / "examples"
SEEDS = range(min(3, int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1"))))
# where no service's own state stands
TOPICS = (
    "pipelines.commands", "runs.commands", "runs.tasks", "run.logs", "dlq", "lineage.events", "webhooks.attempts", "state.changes",
    "api.calls",
)  # fmt: skip
INBOXES = {"pipelines.commands": "command", "runs.commands": "execution"}
# who has a read model of it, and parks there
PARKS = {
    "run.logs": ("execution",), "dlq": ("execution",), "lineage.events": ("lineage",), "webhooks.attempts": ("webhooks",),
    "state.changes": ("webhooks",), "runs.tasks": ("worker-1", "worker-2"),
}  # fmt: skip
# not the workers: their count is of a process, and the log keeps what they passed by
RESTARTED = ("command", "execution", "webhooks")
T = TypeVar("T")

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


def until(look: Callable[[], T], what: str, seconds: float = 60) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.3)  # nobody tells from outside
    return found


def example(topic: str) -> dict[str, Any]:
    """A good record of the topic, under a new id."""
    name = catalogue().topics[topic].payloads[0]
    found: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text())
    return {**found, "id": str(uuid4())}


def unreadable(topic: str, dice: random.Random) -> Iterator[bytes | None]:
    """Values that no release can read. The last ones are JSON."""
    good = json.dumps(example(topic)).encode()
    yield None
    yield b""
    yield dice.randbytes(dice.randint(1, 2_000))
    yield b"\x00" * 10
    yield good[: dice.randrange(1, len(good) - 1)]
    yield good.replace(b'"', b"\xff", 3)
    yield b"[" * 100_000
    yield b"9" * 5_000
    yield b'{"hello": "world"}'
    yield json.dumps({**example(topic), "type": "DropEverything"}).encode()
    yield json.dumps({**example(topic), "version": 99}).encode()
    yield json.dumps({**example(topic), "data": {"nonsense": [1, None]}}).encode()
    if topic == "pipelines.commands":
        # it parses, and has no digest (RFC 8785)
        asked = {**json.loads((EXAMPLES / "CreatePipeline.v1.json").read_text()), "id": str(uuid4())}
        yield json.dumps({**asked, "data": {**asked["data"], "manifest": {**asked["data"]["manifest"], "n": 2**60}}}).encode()


def strange(topic: str) -> Iterator[bytes]:
    """Records that can be read, with words that a database may not like."""
    for word in ("\x00", "\ud800", "\u202e\ufffe", "'; DROP TABLE runs; --", "x" * 10_000):
        changed = example(topic)
        changed["data"] = {
            name: word if isinstance(value, str) and name in ("message", "reason", "detail", "event", "payload", "error_message") else value
            for name, value in changed["data"].items()
        }
        yield json.dumps(changed).encode()


class Poisoner:
    """Writes as the broker's admin: no ACL keeps it out."""

    def __init__(self, product: Stack) -> None:
        self._producer = Producer({**product.librdkafka_admin(), "message.max.bytes": 20_000_000, "compression.type": "none"})
        self.sent: Counter[str] = Counter()

    def put(self, topic: str, value: bytes | None, key: bytes | None, partition: int, *, counted: bool = True) -> None:
        self._producer.produce(
            topic, value, key=key, partition=partition, headers=[("type", b"\xff\x00"), ("", b"\x80"), ("traceparent", b"\xfe")]
        )
        self.sent[topic] += counted

    def flush(self) -> None:
        assert self._producer.flush(60) == 0


def totals(product: Stack) -> dict[str, Counter[str]]:
    """process -> topic -> records that it parked, or rejected from its inbox."""
    found: dict[str, Counter[str]] = {}
    for name, row in product.processes().items():
        told = Counter({topic: sum(codes.values()) for topic, codes in (row.get("parked") or {}).items()})
        if row.get("rejected") is not None:
            told["inbox"] = sum(row["rejected"].values())
        found[name] = told
    return found


def caught_up(product: Stack) -> bool:
    return all(row["health"] == "ready" and not row["lag"] for row in product.processes().values())


@pytest.mark.parametrize("seed", SEEDS)
def test_poison_on_every_topic_is_parked_with_its_reason_and_every_partition_goes_on(victim_stack: Stack, seed: int) -> None:
    product, dice, writer = victim_stack, random.Random(seed), Poisoner(victim_stack)
    until(lambda: caught_up(product), "the product to be ready")
    before = totals(product)
    for topic in TOPICS:
        partitions = catalogue().topics[topic].partitions
        for number, value in enumerate(unreadable(topic, dice)):
            # a worker reads what is addressed to it only
            keys = (b"worker-1", b"worker-2") if topic == "runs.tasks" else (dice.choice((None, b"\xff\xfe", b"acme")),)
            for key in keys:
                partition = _home(key, partitions) if topic == "runs.tasks" else number % partitions
                writer.put(topic, value, key, partition)
        if topic in ("run.logs", "dlq", "webhooks.attempts"):
            for number, value in enumerate(strange(topic)):
                writer.put(topic, value, b"acme", number % partitions, counted=False)
    writer.flush()

    def parked() -> bool:
        now = totals(product)
        rises = {name: now[name] - before[name] for name in now}
        inboxes = all(rises[name]["inbox"] >= writer.sent[topic] for topic, name in INBOXES.items())
        tasks = sum(rises[name]["runs.tasks"] for name in PARKS["runs.tasks"]) >= writer.sent["runs.tasks"]
        rest = all(rises[name][topic] >= writer.sent[topic] for topic, names in PARKS.items() if topic != "runs.tasks" for name in names)
        return inboxes and tasks and rest

    until(parked, f"every poisoned record in `barecount status`: sent {dict(writer.sent)}", 90)
    until(lambda: caught_up(product), "every partition to go on", 90)
    told = product.processes()
    codes = {code for topics in (told["execution"]["parked"], told["webhooks"]["parked"]) for one in topics.values() for code in one}
    assert {"malformed-record", "unknown-type", "invalid-payload"} <= codes
    assert "parked" in product.run("status").stdout
    kept = totals(product)
    for victim in RESTARTED:
        pid = product.kill(victim)
        until(lambda: product.processes()[victim]["pid"] not in (None, pid), f"{victim} to come back")  # noqa: B023
    until(lambda: caught_up(product), "the killed services to be ready", 90)
    assert {name: totals(product)[name] for name in RESTARTED} == {name: kept[name] for name in RESTARTED}, (
        "what was parked and rejected is shown after a restart too"
    )


@pytest.mark.parametrize("topic", TOPICS)
def test_a_record_at_the_limit_is_taken_and_one_over_it_refused_or_answered(victim_stack: Stack, topic: str) -> None:
    row = catalogue().topics[topic]
    refusals: list[str] = []
    producer = Producer({**victim_stack.librdkafka_admin(), "message.max.bytes": 20_000_000, "compression.type": "none"})

    def write(size: int) -> None:
        producer.produce(
            topic, b"x" * size, key=b"acme", partition=0, on_delivery=lambda error, _: refusals.append(error.name()) if error else None
        )
        producer.flush(30)

    # a batch has a head of 61 bytes, a record some 15
    write(row.max_bytes - 200)
    assert refusals == []
    write((row.broker_max_bytes or row.max_bytes) + 1)
    assert refusals == ["MSG_SIZE_TOO_LARGE"]
    if row.broker_max_bytes:
        before = victim_stack.processes()["command"]["rejected"].get("oversized-record", 0)
        write(row.broker_max_bytes - 1_000)
        until(lambda: victim_stack.processes()["command"]["rejected"].get("oversized-record", 0) > before, "the answer to a large record")
    until(lambda: caught_up(victim_stack), "every partition to go on")


def _home(key: bytes | None, partitions: int) -> int:
    from barecount_contracts import murmur2

    return murmur2(key or b"") % partitions
