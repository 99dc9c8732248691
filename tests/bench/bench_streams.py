"""The stream's fan-out, beside plain sockets."""

from __future__ import annotations

from tests.bench.figure import Figure
from tests.bench.streams import bench_fanout
from tests.support.servers import kafka_server


async def bench_stream_fanout() -> list[Figure]:
    """Changes brought to 50 clients, from the log to their sockets, against sockets that are written the same bytes and nothing else."""
    with kafka_server(java_options=()) as kafka:
        kafka.furnish()
        measured = await bench_fanout(kafka)
        return [Figure("changes streamed to 50 clients", measured["value"], measured["unit"], measured["ceiling"])]
