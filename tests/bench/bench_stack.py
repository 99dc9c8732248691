"""The whole product, started as a user starts it: seconds to ready, memory when idle, and how long a person waits.

Ceilings of the same run: a bare Kafka and PostgreSQL for start and memory; for latencies, plain aiokafka appends and reads against the
stack's own broker, one round trip per topic that lies on the way.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psutil
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from barecount_cli.client import Client
from barecount_local import sample
from barecount_local.demo import DAY, PIPELINE, TENANT

from tests.bench.figure import Figure
from tests.support.servers import kafka_server, postgres_server
from tests.support.stack import Stack, stack

COMMANDS, RUNS, ROUND_TRIPS = 200, 30, 300
# pipelines.commands and control.events lie before the read model; then runs.commands, runs.tasks, runs.commands, runs.events
HOPS_TO_VISIBLE, HOPS_TO_STARTED = 2, 6


async def bench_stack() -> list[Figure]:
    """Start, idle memory and latencies of one fresh stack."""
    bare_seconds, bare_memory = await asyncio.to_thread(_bare_servers)
    with stack(BARECOUNT_KAFKA_JAVA_OPTIONS="") as running:
        seconds, memory = _start_again(running), _idle_memory(running)
        hop = await _round_trip_ms(running)
        visible, started = await asyncio.to_thread(_latencies, running)
    return [
        Figure("stack: up to ready, fresh data folder", seconds[0], "s", bare_seconds, "value <= 15"),
        Figure("stack: up to ready, data kept", seconds[1], "s", bare_seconds, "value <= 15"),
        Figure("stack: memory when idle (PSS)", memory, "MiB", bare_memory, "value <= 1200"),
        Figure("HTTP command to visible, p50", _quantile(visible, 50), "ms", HOPS_TO_VISIBLE * hop[0]),
        Figure("HTTP command to visible, p99", _quantile(visible, 99), "ms", HOPS_TO_VISIBLE * hop[1]),
        Figure("HTTP command to first task started, p50", _quantile(started, 50), "ms", HOPS_TO_STARTED * hop[0]),
        Figure("HTTP command to first task started, p99", _quantile(started, 99), "ms", HOPS_TO_STARTED * hop[1]),
    ]


def _bare_servers() -> tuple[float, float]:
    """Seconds to start, and MiB (PSS) of, a Kafka and a PostgreSQL that hold nothing, one after the other."""
    before = time.perf_counter()
    with kafka_server(java_options=()), postgres_server():
        seconds = time.perf_counter() - before
        return seconds, sum(_pss(child) for child in psutil.Process().children(recursive=True)) / 2**20


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def _start_again(running: Stack) -> tuple[float, float]:
    """Seconds that `up` took on a fresh folder, and after `down` on the same."""
    running.run("down")
    kept = json.loads(running.run("up", "--no-demo", "--output", "json").stdout)["seconds"]
    running.run("clean", "--yes")
    fresh = json.loads(running.run("up", "--no-demo", "--output", "json").stdout)["seconds"]
    return float(fresh), float(kept)


def _idle_memory(running: Stack) -> float:
    """MiB (PSS) of all processes of the stack."""
    return sum(float(row["pss_bytes"] or 0) for row in running.processes().values()) / 2**20


async def _round_trip_ms(running: Stack) -> tuple[float, float]:
    """p50 and p99 of one acknowledged append until a plain consumer has it, on the stack's own broker."""
    admin = running.librdkafka_admin()
    plain = {
        "bootstrap_servers": admin["bootstrap.servers"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": admin["sasl.username"],
        "sasl_plain_password": admin["sasl.password"],
    }
    topic = TopicPartition("runs.tasks", 0)
    producer, consumer = AIOKafkaProducer(**plain, acks="all"), AIOKafkaConsumer(**plain)
    await asyncio.gather(producer.start(), consumer.start())
    try:
        consumer.assign([topic])
        await consumer.seek_to_end(topic)
        times = []
        for _ in range(ROUND_TRIPS):
            began = time.perf_counter()
            await producer.send_and_wait(topic.topic, b"{}", key=b"bench", partition=topic.partition)
            await consumer.getone(topic)
            times.append((time.perf_counter() - began) * 1000)
    finally:
        await asyncio.gather(producer.stop(), consumer.stop())
    return _quantile(times, 50), _quantile(times, 99)


def _latencies(running: Stack) -> tuple[list[float], list[float]]:
    """ms from sending an HTTP command until its effect is read back, and until the first task of a run started (broker time)."""
    admin = running.client("tenant_admin")
    for name in sample.CONTRACTS:
        admin.write("POST", "/contracts", yaml.safe_load(sample.document(name)))
    manifest = yaml.safe_load(sample.document(sample.MANIFEST))
    admin.write("POST", "/pipelines", manifest)
    admin.write("POST", f"/pipelines/{PIPELINE}/promote", {"from": "dev", "to": "prod"})
    sample.deliver(running.data / "lake", TENANT, DAY)
    visible = [_timed(lambda number=number: _update(admin, manifest, number)) for number in range(COMMANDS)]  # type: ignore[misc]
    started = [_until_started(admin, f"bench_{number:03}") for number in range(RUNS)]
    return visible[COMMANDS // 10 :], started[RUNS // 10 :]


def _update(admin: Client, manifest: dict[str, Any], number: int) -> None:
    admin.write("PUT", f"/pipelines/{PIPELINE}", manifest | {"description": f"version {number}"}, wait=None)
    assert admin.get(f"/pipelines/{PIPELINE}")["manifest"]["description"] == f"version {number}"


def _until_started(admin: Client, run_id: str) -> float:
    began = time.time()
    admin.write("POST", f"/pipelines/{PIPELINE}/runs", {"partition": str(DAY), "run_id": run_id}, wait=None)
    run = list(admin.follow_run(run_id))[-1]
    first = run["stages"][0]["attempts"][0]["started_at"]
    return (datetime.fromisoformat(first).timestamp() - began) * 1000


def _timed(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
