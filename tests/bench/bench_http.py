"""How long a person waits for a command over HTTP until the read model shows it: the service with broker and database beside it."""

from __future__ import annotations

import statistics

from tests.bench.figure import Figure
from tests.bench.hop import hop_ms
from tests.bench.http import command_service, read_own_write_ms, updates_ms
from tests.support.servers import kafka_server, postgres_server

RATE, SECONDS, WARM_SECONDS = 100, 10.0, 8.0
# the inbox and the events lie between the call and the read model
HOPS = 2


async def bench_http_to_visible() -> list[Figure]:
    """New versions of the sample's manifest at 100 a second: admitted, committed, projected, read back, the call recorded, answered."""
    with kafka_server() as kafka, postgres_server() as postgres:
        async with command_service(kafka, postgres) as client:
            await updates_ms(client, RATE, WARM_SECONDS, "warm")
            visible = await updates_ms(client, RATE, SECONDS, "measured")
            own = await read_own_write_ms(client, 200)
            hop = await hop_ms(kafka)
    name = f"HTTP to visible in the read model, {RATE} commands/s"
    return [
        Figure(f"{name}, p50", _quantile(visible, 50), "ms", HOPS * _quantile(hop, 50), "value <= 30"),
        Figure(f"{name}, p99", _quantile(visible, 99), "ms", HOPS * _quantile(hop, 99), "value <= 120"),
        Figure("read with the token of a write just sent, p50", _quantile(own, 50), "ms", _quantile(hop, 50)),
        Figure("read with the token of a write just sent, p99", _quantile(own, 99), "ms", _quantile(hop, 99)),
    ]


def _quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
