"""The lineage writer as a process of its own: `python writer_process.py <place as JSON>`. Ended by a signal."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from barecount_eventlog import KafkaSettings
from barecount_lineage.handler import LineageWriter


async def run(given: dict[str, Any]) -> None:
    kafka = KafkaSettings(given["bootstrap"], given["username"], given["password"])
    # small batches, so that a kill meets every step
    writer = LineageWriter(kafka, runs=given["runs"], output=given["output"], partitions=2, service=given["service"], max_batch=7)
    await writer.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))
