"""The event core on real servers: commands decided and committed, events projected, each beside a raw loop over the same records."""

from __future__ import annotations

from barecount_eventlog import KafkaSettings

from tests.bench.commands import bench_commands
from tests.bench.figure import Figure
from tests.bench.projection import bench_projection
from tests.bench.rebuilding import bench_rebuild
from tests.support.servers import Kafka, kafka_server, postgres_server


async def bench_commands_committed() -> list[Figure]:
    """Commands per second of one partition's owner, against raw aiokafka transactions with the same batch and rotation."""
    found = []
    with kafka_server(java_options=()) as kafka:
        for batch in (100, 500):
            measured = await bench_commands(_settings(kafka), batch=batch)
            name = f"commands decided and committed, {batch} a batch"
            found.append(Figure(name, measured["value"], measured["unit"], measured["ceiling"], "ratio >= 0.3"))
    return found


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
