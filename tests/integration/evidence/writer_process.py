"""The ledger's writer as a process of its own: `python writer_process.py <place as JSON>`. Ended by a signal."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from barecount_eventlog import KafkaSettings
from barecount_evidence.handler import LedgerWriter
from barecount_evidence.mirror import Mirror

from tests.integration.evidence.kit import KEY


async def run(given: dict[str, Any]) -> None:
    kafka = KafkaSettings(given["bootstrap"], given["username"], given["password"])
    mirror = Mirror(kafka, given["ledger"], origin=KEY.name, key=KEY.verifying_key)
    # small batches, so that a kill meets every step
    writer = LedgerWriter(kafka, mirror, KEY, topics=given["sources"], ledger=given["ledger"], service=given["service"], max_batch=40)
    await mirror.start()
    await writer.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))
