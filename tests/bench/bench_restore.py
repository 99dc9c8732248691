"""A new owner of a partition: how long until it decides, and what it holds in memory."""

from __future__ import annotations

from tests.bench.figure import Figure
from tests.bench.restoring import memory_mib, restore_seconds
from tests.integration.eventlog.kit import settings_of
from tests.support.servers import kafka_server, postgres_server

EVENTS, TAIL = 1_000_000, 10_000
PIPELINES, VERSIONS = 10_000, 100


async def bench_restore() -> list[Figure]:
    """Seconds of the command service's take-over of a partition with a million admitted runs."""
    with kafka_server() as kafka:
        found = await restore_seconds(kafka, settings_of(kafka), EVENTS, TAIL)
    return [
        Figure("restore by replaying 1,000,000 events", found["replay"], "s", goal="value <= 30"),
        Figure("restore from a snapshot of them and 10,000 events", found["snapshot"], "s", goal="value <= 1"),
    ]


async def bench_memory_of_manifests() -> list[Figure]:
    """MiB of the command service that knows a million versions of manifests, restored from its snapshot; the ceiling is the empty one."""
    with kafka_server() as kafka, postgres_server() as postgres:
        found = await memory_mib(kafka, postgres, PIPELINES, VERSIONS)
    return [Figure("memory of the command service, 10,000 manifests of 100 versions", found["full"], "MiB", found["empty"], "value <= 400")]
