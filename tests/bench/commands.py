"""Commands decided and committed per second, against raw aiokafka transactions over the same records with the same batch and rotation."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from barecount_eventlog import Appender, Handler, KafkaSettings, tail

from tests.integration.eventlog.counter import Counter, add, gate
from tests.integration.eventlog.kit import create_topics

Measured = dict[str, Any]


async def fill(kafka: KafkaSettings, topic: str, count: int) -> None:
    """Appends `count` commands of one key, without waiting for each."""
    producer = AIOKafkaProducer(**kafka.client(), enable_idempotence=True, max_batch_size=500_000, compression_type="lz4")
    await producer.start()
    values = [add(n if n not in (13, 666) else 1, key=f"{topic}/{n}").to_bytes() for n in range(count)]
    sent = [await producer.send(topic, value, key=b"acme", partition=0) for value in values]
    await asyncio.gather(*sent)
    await producer.stop()


async def handled_per_second(kafka: KafkaSettings, count: int, batch: int) -> float:
    inbox, events = await create_topics(kafka, "bench-in", "bench-out")
    await fill(kafka, inbox, count)
    handler = Handler(kafka=kafka, service="bench", inbox=inbox, events=events, decider=Counter(), gate=gate, max_batch=batch)
    await handler.start()
    started, first = time.perf_counter(), handler._owners[0].state.books.inbox_next
    async with asyncio.timeout(300):
        while handler._owners[0].state.books.inbox_next < count:
            assert handler.failed is None, handler.failed
            await asyncio.sleep(0.002)  # between two looks from outside: the owner tells nobody of each batch
    seconds = time.perf_counter() - started
    await handler.stop()
    return (count - first) / seconds


async def raw_per_second(kafka: KafkaSettings, count: int, batch: int, width: int = 3) -> float:
    """The ceiling: consume, parse JSON, write JSON of an event's size, one future a record, offsets and commit; nothing else."""
    inbox, events = await create_topics(kafka, "raw-in", "raw-out")
    await fill(kafka, inbox, count)
    where, name = TopicPartition(inbox, 0), f"raw.{uuid4()}"
    consumer = AIOKafkaConsumer(**kafka.client(), isolation_level="read_committed", enable_auto_commit=False)
    consumer.assign([where])
    await consumer.start()
    consumer.seek(where, 0)
    producers = [
        AIOKafkaProducer(
            **kafka.client(), transactional_id=f"{name}.{n}", retry_backoff_ms=20, compression_type="lz4", max_batch_size=900_000
        )
        for n in range(width)
    ]
    await asyncio.gather(*(producer.start() for producer in producers))
    done, turn, started = 0, 0, time.perf_counter()
    while done < count:
        records = (await consumer.getmany(where, timeout_ms=100, max_records=batch)).get(where, [])
        if not records:
            continue
        producer, turn = producers[turn % width], turn + 1
        await producer.begin_transaction()
        sent = []
        for record in records:
            value = json.dumps(_event(json.loads(record.value), record.offset)).encode()
            sent.append(await producer.send(events, value, key=record.key, partition=0, headers=[("inbox-offset", b"%d" % record.offset)]))
        await asyncio.gather(*sent)
        await producer.send_offsets_to_transaction({where: records[-1].offset + 1}, name)
        await producer.commit_transaction()
        done += len(records)
    seconds = time.perf_counter() - started
    await asyncio.gather(consumer.stop(), *(producer.stop() for producer in producers))
    return count / seconds


def _event(command: dict[str, Any], offset: int) -> dict[str, Any]:
    """As many fields as a real event has."""
    return command | {"cause": {"topic": "inbox", "partition": 0, "offset": offset, "index": 0, "count": 1, "command_id": command["id"]}}


async def latency(kafka: KafkaSettings, rate: int = 100, seconds: float = 5) -> Mapping[str, float]:
    """Appended until decided and committed, in ms, at a steady rate of commands a second."""
    inbox, events = await create_topics(kafka, "bench-in", "bench-out")
    handler = Handler(kafka=kafka, service="bench", inbox=inbox, events=events, decider=Counter(), gate=gate)
    appender = Appender(kafka, "bench")
    await asyncio.gather(handler.start(), appender.start())
    begun: dict[int, float] = {}
    took: list[float] = []
    seen = asyncio.Event()
    count = int(rate * seconds)

    async def watch() -> None:
        async for found in tail(kafka, events):
            now = time.perf_counter()
            seen.set()
            for record in found.records:
                if record.envelope.data["number"] in begun:
                    took.append((now - begun[record.envelope.data["number"]]) * 1000)
            if len(took) >= count:
                return

    watching = asyncio.create_task(watch())
    # one that is not measured: everything is connected when it comes back
    await appender.append(inbox, "acme", add(1))
    async with asyncio.timeout(30):
        await seen.wait()
    numbers = range(1000, 1000 + count)
    start = time.perf_counter()
    appends = []
    for index, number in enumerate(numbers):
        # the rate is what is measured at
        await asyncio.sleep(max(0.0, start + index / rate - time.perf_counter()))
        begun[number] = time.perf_counter()
        appends.append(asyncio.create_task(appender.append(inbox, "acme", add(number))))
    await asyncio.gather(*appends)
    await watching
    await handler.stop()
    await appender.stop()
    took.sort()
    return {"p50": round(took[len(took) // 2], 1), "p99": round(took[int(len(took) * 0.99)], 1)}


async def bench_commands(kafka: KafkaSettings, *, count: int = 20_000, batch: int = 500) -> Measured:
    """value and ceiling in commands/s of one partition; latency_ms at 100 commands/s."""
    ceiling = await raw_per_second(kafka, count, batch)
    value = await handled_per_second(kafka, count, batch)
    found = await latency(kafka)
    return {"value": round(value), "unit": "commands/s", "ceiling": round(ceiling), "batch": batch, "latency_ms": dict(found)}
