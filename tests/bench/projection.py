"""Events projected per second, against raw consume, JSON decode and COPY of the same rows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from barecount_eventlog import KafkaSettings, Recorded, end_offsets
from barecount_readmodel import Connection, Database, Projector, insert_rows

from tests.integration.eventlog.counter import NumberAdded, add
from tests.integration.eventlog.kit import create_topics

COLUMNS = ("event_id", "tenant", "number", "total")


class Copied:
    """The plainest view: one row an event, by COPY and a stage, because the table stands under row-level security."""

    NAME = "copied"
    VERSION = 1
    DDL = "CREATE TABLE copied (event_id uuid PRIMARY KEY, tenant text NOT NULL, number integer NOT NULL, total bigint NOT NULL)"

    def __init__(self, topic: str) -> None:
        self.TOPICS: tuple[str, ...] = (topic,)

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        rows = []
        for record in records:
            match record.payload:
                case NumberAdded() as added:
                    rows.append((record.envelope.id, record.envelope.tenant, added.number, added.total))
                case _:
                    pass
        await insert_rows(conn, "copied", COLUMNS, rows)


async def fill(kafka: KafkaSettings, count: int) -> str:
    (topic,) = await create_topics(kafka, "bench-events")
    producer = AIOKafkaProducer(**kafka.client(), enable_idempotence=True, max_batch_size=500_000, compression_type="lz4")
    await producer.start()
    sent = []
    for n in range(count):
        base = add(1, key=f"{topic}/{n}")
        event = base.model_copy(update={"type": "NumberAdded", "data": {"number": n, "total": n, "pad": ""}})
        sent.append(await producer.send(topic, event.to_bytes(), key=b"acme", partition=0))
    await asyncio.gather(*sent)
    await producer.stop()
    return topic


async def projected_per_second(kafka: KafkaSettings, topic: str, url: str, service: str) -> float:
    database = await Database.open(url, service=service)
    end = (await end_offsets(kafka, topic))[0]
    projector = Projector(kafka=kafka, database=database, service=service, views=[Copied(topic)])
    started = time.perf_counter()
    await projector.start()

    async def all_there() -> bool | None:
        return True if projector.position().get((topic, 0), 0) >= end else None

    assert await projector.until(all_there, 120)
    seconds = time.perf_counter() - started
    await projector.stop()
    await database.close()
    return end / seconds


async def raw_per_second(kafka: KafkaSettings, topic: str, url: str) -> float:
    """The ceiling: getmany, json.loads, COPY and a position row in one transaction a batch."""
    where, end = TopicPartition(topic, 0), (await end_offsets(kafka, topic))[0]
    conn = await asyncpg.connect(url)
    await conn.execute("CREATE TABLE raw (event_id uuid PRIMARY KEY, tenant text NOT NULL, number integer NOT NULL, total bigint NOT NULL)")
    await conn.execute("CREATE TABLE raw_position (next bigint); INSERT INTO raw_position VALUES (0)")
    started = time.perf_counter()
    consumer = AIOKafkaConsumer(**kafka.client(), isolation_level="read_committed", enable_auto_commit=False)
    consumer.assign([where])
    await consumer.start()
    consumer.seek(where, 0)
    position = 0
    while position < end:
        records = (await consumer.getmany(where, timeout_ms=100, max_records=2000)).get(where, [])
        if not records:
            continue
        rows = []
        for record in records:
            read: dict[str, Any] = json.loads(record.value)
            rows.append((UUID(read["id"]), read["tenant"], read["data"]["number"], read["data"]["total"]))
        async with conn.transaction():
            await conn.execute("UPDATE raw_position SET next = $1", position)
            await conn.copy_records_to_table("raw", records=rows, columns=COLUMNS)
        position = records[-1].offset + 1
    seconds = time.perf_counter() - started
    await consumer.stop()
    await conn.close()
    return end / seconds


async def bench_projection(kafka: KafkaSettings, database_url: str, *, service: str, count: int = 50_000) -> dict[str, Any]:
    """value and ceiling in events/s of one partition, from the start of the reading to the last row's commit."""
    topic = await fill(kafka, count)
    ceiling = await raw_per_second(kafka, topic, database_url)
    value = await projected_per_second(kafka, topic, database_url, service)
    return {"value": round(value), "unit": "events/s", "ceiling": round(ceiling), "events": count}
