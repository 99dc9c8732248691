"""One owner as a process that a test may kill or freeze: `python -m tests.chaos.eventlog.owner_process <kind> <json>`.

kind: handler, deriver or projector. It says `ready` on stdout and works until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from barecount_eventlog import Deriver, Handler, KafkaSettings, OutRecord, Recorded
from barecount_readmodel import Database, Projector

from tests.integration.eventlog.counter import Counter, gate
from tests.integration.readmodel.kit import NumbersView


def echo(batch: Sequence[Recorded], positions: Mapping[tuple[str, int], tuple[int, int]]) -> list[OutRecord]:
    """One record a source record, then what the batch covers."""
    copies = [OutRecord("copy", f"{r.topic}/{r.partition}/{r.offset}".encode()) for r in batch]
    covered = [[topic, partition, *span] for (topic, partition), span in sorted(positions.items())]
    return [*copies, OutRecord("covered", json.dumps(covered).encode())]


async def run(kind: str, given: dict[str, Any]) -> None:
    kafka = KafkaSettings(**given["kafka"])
    match kind:
        case "handler":
            worker: Any = Handler(
                kafka=kafka,
                service="test",
                inbox=given["inbox"],
                events=given["events"],
                decider=Counter(),
                gate=gate,
                max_batch=given.get("max_batch", 20),
                fenced_backoff=(3600, 3600),
            )
        case "deriver":
            worker = Deriver(
                kafka=kafka,
                service="test",
                name=given["output"],
                sources=given["sources"],
                output=given["output"],
                output_partition=0,
                transform=echo,
                max_batch=20,
                fenced_backoff=(3600, 3600),
            )
        case "projector":
            database = await Database.open(given["database"], service=given["service"])
            views = [NumbersView(given["events"])]
            worker = Projector(kafka=kafka, database=database, service=given["service"], views=views, max_batch=20)
        case _:
            raise ValueError(kind)
    await worker.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], json.loads(sys.argv[2])))
