"""The raw unit of every latency here: one acknowledged append until a plain consumer has it."""

from __future__ import annotations

import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.support.servers import Kafka

ROUND_TRIPS = 300


async def hop_ms(kafka: Kafka) -> list[float]:
    where = TopicPartition(kafka.topic("hop"), 0)
    producer, consumer = (
        AIOKafkaProducer(**kafka.settings(), acks="all"),
        AIOKafkaConsumer(**kafka.settings(), auto_offset_reset="earliest"),
    )
    await producer.start()
    await consumer.start()
    consumer.assign([where])
    times = []
    try:
        for _ in range(ROUND_TRIPS):
            began = time.perf_counter()
            await producer.send_and_wait(where.topic, b"{}", key=b"bench", partition=0)
            await consumer.getone(where)
            times.append((time.perf_counter() - began) * 1000)
    finally:
        await producer.stop()
        await consumer.stop()
    return times[ROUND_TRIPS // 10 :]
