"""The writer of state.changes as a process of its own: `python writer_process.py <place as JSON>`. Ended by a signal."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from barecount_eventlog import KafkaSettings
from barecount_streams.handler import ChangeWriter


async def run(given: dict[str, Any]) -> None:
    # small batches, so that a kill meets every step
    writer = ChangeWriter(KafkaSettings(**given["kafka"]), names=given["names"], service=given["service"], max_batch=7)
    await writer.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))
