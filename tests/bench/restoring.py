"""How long an owner takes until it knows again what its log says, and what a large state costs in memory."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from aiokafka import AIOKafkaProducer
from barecount_command.domain import CommandDecider
from barecount_command.domain.state import ManifestVersion, Pipeline, State, Tenant, terms_of
from barecount_contracts import Envelope, murmur2
from barecount_eventlog import Handler, KafkaSettings, Refusal, Snapshot
from barecount_eventlog.books import Books
from barecount_eventlog.ids import Ids
from barecount_eventlog.judging import Judge
from barecount_eventlog.snapshots import join
from barecount_readmodel import Database, PostgresSnapshots
from confluent_kafka import Producer
from immutables import Map

from tests.bench.http import start
from tests.integration.eventlog.kit import create_topics
from tests.support.servers import Kafka, Postgres

EXAMPLES = Path(__file__).resolve().parents[2] / "contracts" / "examples"
WINDOW = timedelta(days=7)


class Held:
    """A SnapshotStore of one snapshot."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None

    async def load(self, service: str, partition: int, schema: str) -> Snapshot | None:
        return self.snapshot

    async def save(self, service: str, partition: int, snapshot: Snapshot) -> None:
        self.snapshot = snapshot


def admitted(count: int) -> Iterator[bytes]:
    """Admissions of runs, each of a command of its own, as the command service writes them."""
    held = Envelope.model_validate_json((EXAMPLES / "RunRequested.v1.json").read_text())
    assert held.cause is not None
    run, command = "run-0000000", UUID(int=0)
    cause = held.cause.model_copy(update={"index": 0, "count": 1, "offset": 0, "command_id": command, "source": None})
    value = held.model_copy(update={"cause": cause, "data": {**held.data, "run_id": run}}).to_bytes()
    assert value.count(run.encode()) == 1
    for number in range(count):
        yield value.replace(run.encode(), b"run-%07d" % number).replace(str(command).encode(), str(UUID(int=number + 1)).encode())


async def restore_seconds(kafka: Kafka, settings: KafkaSettings, events: int, tail: int) -> Mapping[str, float]:
    """Seconds of a take-over: by replaying `events`, and from a snapshot with `tail` events after it."""
    inbox, log = await create_topics(settings, "restore-in", "restore-out")
    await _append(settings, inbox, [b"{}"])
    await asyncio.to_thread(_fill, kafka, log, admitted(events))
    store = Held()
    replay = await _taken_over(settings, inbox, log, store)
    assert store.snapshot is not None, "the owner writes one when it leaves"
    await asyncio.to_thread(_fill, kafka, log, admitted(tail))
    short = await _taken_over(settings, inbox, log, store)
    return {"replay": replay, "snapshot": short, "snapshot_mb": len(store.snapshot.blob) / 1e6}


async def _taken_over(settings: KafkaSettings, inbox: str, log: str, store: Held) -> float:
    handler = Handler(kafka=settings, service="bench", inbox=inbox, events=log, decider=CommandDecider(), gate=_open, snapshots=store)
    began = time.perf_counter()
    await handler.start()
    seconds = time.perf_counter() - began
    assert handler.failed is None, handler.failed
    await handler.stop()
    return seconds


def _open(command: Envelope, asking: Any) -> Refusal | None:
    return None


def _blob(domain: State, books: Books) -> bytes:
    return join(books.dump(), CommandDecider().dump(domain))


async def _append(settings: KafkaSettings, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(**settings.client())
    await producer.start()
    await asyncio.gather(*[await producer.send(topic, value, key=b"acme", partition=0) for value in values])
    await producer.stop()


def _fill(kafka: Kafka, topic: str, values: Iterator[bytes]) -> None:
    producer = Producer(
        {**kafka.librdkafka(), "linger.ms": 50, "batch.size": 900_000, "compression.type": "lz4", "enable.idempotence": True}
    )
    failed: list[Any] = []

    def delivered(error: Any, message: Any) -> None:
        if error is not None:
            failed.append(error)

    for value in values:
        while True:
            try:
                producer.produce(topic, value, key=b"acme", partition=0, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(60)
    assert not failed, failed[:3]


def large_state(pipelines: int, versions: int) -> tuple[State, Books]:
    """What the owner knows after so many manifests with so many versions each, all of the last days: every command id is known too."""
    terms = [terms_of(("retail-revenue", f"v{number}"), "day", "default", "policy", "person") for number in range(5)]
    held, ids, index = {}, [], 0
    clock = int(time.time() * 1000)
    width = int(WINDOW / timedelta(milliseconds=1)) // 8
    for number in range(pipelines):
        many = []
        for _ in range(versions):
            digest = hashlib.sha256(index.to_bytes(8)).digest()
            many.append(ManifestVersion(digest, terms[index % 5]))
            command = hashlib.md5(index.to_bytes(8), usedforsecurity=False).digest()
            ids.append(command + index.to_bytes(8) + clock.to_bytes(8) + digest[:16])
            index += 1
        held[f"pipeline-{number:05}"] = Pipeline(tuple(many), Map({"dev": versions}))
    state = State(Map({"acme": Tenant(pipelines=Map(held))}))
    books = Books(int(WINDOW / timedelta(milliseconds=1)), 0, clock, ((clock // width, Ids.load(b"".join(sorted(ids)))),))
    return state, books


async def memory_mib(kafka: Kafka, postgres: Postgres, pipelines: int, versions: int) -> Mapping[str, float]:
    """MiB (PSS) of the running command service, started empty and from a snapshot of the large state; seconds until ready."""
    kafka.furnish()
    await postgres.furnish()
    empty, _ = await _service_mib(kafka, postgres)
    database = await Database.open(postgres.dsn("command", user="command"), service="command")
    schema = Judge(inbox="", events="", partitions=1, decider=CommandDecider(), gate=lambda command, asking: None, window=WINDOW).schema
    await PostgresSnapshots(database).save(
        "command", murmur2(b"acme") % 4, Snapshot(schema, 0, 0, _blob(*large_state(pipelines, versions)))
    )
    await database.close()
    full, seconds = await _service_mib(kafka, postgres)
    return {"empty": empty, "full": full, "seconds": seconds}


async def _service_mib(kafka: Kafka, postgres: Postgres) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        async with start(kafka, postgres, Path(folder)) as running:
            seconds = time.perf_counter() - began
            return psutil.Process(running.process.pid).memory_full_info().pss / 2**20, seconds
