"""How long a person waits for a command over HTTP until the read model shows it: the service with broker and database beside it."""

from __future__ import annotations

import statistics

from tests.bench.figure import Figure
from tests.bench.hop import hop_ms
from tests.bench.http import at_rate_ms, command_service, read_own_write_ms, starting, updating
from tests.support.servers import kafka_server, postgres_server

# warm: until the broker's JVM has compiled what it does, as that of a stack has that ran for a minute
RATE, SECONDS, WARM_SECONDS = 100, 8.0, 60.0
# the inbox and the events lie between the call and the read model
HOPS = 2


async def bench_http_to_visible() -> list[Figure]:
    """Commands at 100 a second: admitted, committed, projected, read back, the call recorded, answered."""
    with kafka_server(java_options=()) as kafka, postgres_server() as postgres:
        async with command_service(kafka, postgres) as client:
            await at_rate_ms(starting(client, "warm"), RATE, WARM_SECONDS)
            runs = await at_rate_ms(starting(client, "run"), RATE, SECONDS)
            versions = await at_rate_ms(updating(client, "version"), RATE, SECONDS)
            own = await read_own_write_ms(client, 200)
            hop = await hop_ms(kafka)
    found = []
    for what, times in ((f"runs at {RATE}/s", runs), (f"manifests at {RATE}/s", versions)):
        for percent, most in ((50, 30), (99, 120)):
            name, ceiling = f"HTTP to visible, {what}, p{percent}", HOPS * _quantile(hop, percent)
            found.append(Figure(name, _quantile(times, percent), "ms", ceiling, f"value <= {most}"))
    for percent in (50, 99):
        name = f"read with the token of a write just sent, p{percent}"
        found.append(Figure(name, _quantile(own, percent), "ms", _quantile(hop, percent)))
    return found


def _quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
