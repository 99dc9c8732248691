"""Events per second of a rebuild of execution's real views from a log of runs, against raw consume, JSON decode and COPY of that log."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from barecount_contracts import Envelope
from barecount_eventlog import KafkaSettings, end_offsets
from barecount_execution.projection import views
from barecount_readmodel import Rebuild

EXAMPLES = Path(__file__).resolve().parents[2] / "contracts" / "examples"
# a run as the story's is: what its log has of it, one attempt, and some lines
RUN = (
    "RunQueued",
    "RunStarted",
    "TaskDispatched",
    "TaskStarted",
    "TaskProgressed",
    "TaskSucceeded",
    "DataPartitionPublished",
    "RunSucceeded",
)
LINES = 12
EVENTS_OF_A_RUN = len(RUN) + 1 + LINES


def run_of(number: int) -> Iterator[tuple[str, Envelope]]:
    """(topic, event) of one run, with ids of its own."""
    run, nonce = f"run-{number:07}", f"nonce-{number:07}"
    for topic, names in (("control.events", ("RunRequested",)), ("runs.events", RUN), ("run.logs", ("RunLogged",) * LINES)):
        for sequence, name in enumerate(names):
            held = _example(name)
            data: dict[str, Any] = {**held.data, "run_id": run}
            if "task" in data:
                data["task"] = {**data["task"], "nonce": nonce}
            if name == "RunLogged":
                data["sequence"] = sequence
            yield topic, held.model_copy(update={"id": uuid4(), "cause": None, "data": data})


_held: dict[str, Envelope] = {}


def _example(name: str) -> Envelope:
    if name not in _held:
        _held[name] = Envelope.model_validate_json((EXAMPLES / f"{name}.v1.json").read_text())
    return _held[name]


async def fill(kafka: KafkaSettings, events: int) -> int:
    """Runs with together about so many events, in partitions in turn; how many events."""
    producer = AIOKafkaProducer(**kafka.client(), max_batch_size=900_000, compression_type="lz4", linger_ms=20)
    await producer.start()
    runs, sent = events // EVENTS_OF_A_RUN, []
    for number in range(runs):
        for topic, event in run_of(number):
            sent.append(await producer.send(topic, event.to_bytes(), key=b"bench", partition=number % 4))
        if len(sent) > 20_000:
            await asyncio.gather(*sent)
            sent.clear()
    await asyncio.gather(*sent)
    await producer.stop()
    return runs * EVENTS_OF_A_RUN


async def rebuilt_per_second(kafka: KafkaSettings, url: str) -> float:
    rebuild = Rebuild(kafka, url, "execution", views())
    done = await rebuild.prepare()
    conn = await asyncpg.connect(url)
    await conn.execute(f'DROP SCHEMA "{rebuild.live}" CASCADE')
    await conn.close()
    return float(done["events"]) / float(done["seconds"])


async def raw_per_second(kafka: KafkaSettings, url: str) -> float:
    """The ceiling: getmany, json.loads, COPY of (id, tenant, type, data)."""
    places: dict[TopicPartition, int] = {}
    for topic in ("control.events", "runs.events", "run.logs"):
        places |= {TopicPartition(topic, p): end for p, end in (await end_offsets(kafka, topic)).items() if end}
    conn = await asyncpg.connect(url)
    await conn.execute("CREATE TABLE raw (id uuid PRIMARY KEY, tenant text NOT NULL, type text NOT NULL, run_id text NOT NULL)")
    await conn.execute("SET synchronous_commit TO off")
    started, count = time.perf_counter(), 0
    consumer = AIOKafkaConsumer(**kafka.client(), isolation_level="read_committed", enable_auto_commit=False)
    consumer.assign(list(places))
    await consumer.start()
    await consumer.seek_to_beginning(*places)
    while any([await consumer.position(where) < end for where, end in places.items()]):
        fetched = await consumer.getmany(timeout_ms=200, max_records=5000)
        read = [json.loads(record.value) for records in fetched.values() for record in records]
        rows = [(UUID(one["id"]), one["tenant"], one["type"], one["data"]["run_id"]) for one in read]
        await conn.copy_records_to_table("raw", records=rows, columns=("id", "tenant", "type", "run_id"))
        count += len(rows)
    seconds = time.perf_counter() - started
    await consumer.stop()
    await conn.execute("DROP TABLE raw")
    await conn.close()
    return count / seconds


async def bench_rebuild(kafka: KafkaSettings, url: str, *, events: int = 200_000) -> dict[str, Any]:
    """value and ceiling in events/s, from an empty database to the last row's commit. The catalogue's topics stand and are empty.

    The medians of two and of three, in turn: a machine's speed may change by half from one minute to the next.
    """
    filled, found, raw = await fill(kafka, events), list[float](), [await raw_per_second(kafka, url)]
    for _ in range(2):
        found.append(await rebuilt_per_second(kafka, url))
        raw.append(await raw_per_second(kafka, url))
    value, ceiling = statistics.median(found), statistics.median(raw)
    return {"value": round(value), "unit": "events/s", "ceiling": round(ceiling), "events": filled}
