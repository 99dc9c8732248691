"""The event core on real servers: commands decided and committed, events projected, each beside a raw loop over the same records."""

from __future__ import annotations

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from barecount_eventlog import KafkaSettings

from tests.bench.commands import bench_commands, latency, real, toy
from tests.bench.figure import Figure
from tests.bench.hop import hop_ms
from tests.bench.projection import bench_projection
from tests.bench.rebuilding import bench_rebuild
from tests.support.servers import Kafka, kafka_server, postgres_server

COMMANDS = 20_000
RAW_WHERE_GOALS_WERE_SET = 54_000


async def bench_commands_committed() -> list[Figure]:
    """Commands per second of one partition's owner, against raw aiokafka transactions with the same records, batch and rotation."""
    found = []
    with kafka_server(java_options=()) as kafka, TemporaryDirectory() as folder:
        for name, load in (("toy domain", toy(COMMANDS)), ("command service, signed by HTTP", real(COMMANDS, Path(folder)))):
            for batch in (100, 500):
                measured = await bench_commands(_settings(kafka), load, batch=batch)
                named = f"commands committed, {name}, {batch} a batch"
                found.append(Figure(named, measured["value"], measured["unit"], measured["ceiling"], "ratio >= 0.3"))
    at_500, plain = found[-1], found[1].ceiling
    assert plain is not None
    return [
        # the goals in seconds and commands were set on a machine that did this many (shared/reference/kafka-recipes.md §1.5.1)
        Figure("this machine: the raw loop at 500 a batch, beside where the goals were set", plain, "commands/s", RAW_WHERE_GOALS_WERE_SET),
        *found,
        Figure("commands a second of an owner, signatures and validation included", at_500.value, at_500.unit, goal="value >= 8000"),
        Figure("the same, in proportion to that machine's raw loop", at_500.value * RAW_WHERE_GOALS_WERE_SET / plain, at_500.unit),
    ]


async def bench_handler_latency() -> list[Figure]:
    """ms from an append until its event is read, at 100 commands a second."""
    with kafka_server(java_options=()) as kafka:
        found, hop = await latency(_settings(kafka)), await hop_ms(kafka)
    quantiles = statistics.quantiles(hop, n=100, method="inclusive")
    return [
        Figure(f"inbox to committed event, 100 commands/s, {name}", found[name], "ms", 2 * quantiles[percent - 1])
        for name, percent in (("p50", 50), ("p99", 99))
    ]


async def bench_events_projected() -> list[Figure]:
    """Events per second into one table, against raw consume, decode and COPY."""
    with kafka_server(java_options=()) as kafka, postgres_server() as postgres:
        url = await postgres.create_database("bench")
        measured = await bench_projection(_settings(kafka), url, service="bench")
        return [Figure("events projected", measured["value"], measured["unit"], measured["ceiling"], "ratio >= 0.5")]


async def bench_read_model_rebuilt() -> list[Figure]:
    """Events per second of execution's whole read model from a log of 200,000, against raw consume, decode and COPY."""
    with kafka_server(java_options=()) as kafka, postgres_server() as postgres:
        kafka.furnish()
        url = await postgres.create_database("bench")
        measured = await bench_rebuild(_settings(kafka), url)
        return [
            Figure("events rebuilt into execution's read model", measured["value"], measured["unit"], measured["ceiling"], "ratio >= 0.5")
        ]


def _settings(kafka: Kafka) -> KafkaSettings:
    told = kafka.settings()
    return KafkaSettings(kafka.bootstrap, told["sasl_plain_username"], told["sasl_plain_password"])
