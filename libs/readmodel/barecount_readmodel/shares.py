"""A rebuild's long stretch divided among processes, since one Python process's CPU is what bounds it.

A share is whole partitions: their positions and rows commit as ever, and what two partitions do to each other does not depend on who
projects them. Nothing but the schema is shared, and it stands before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition
from barecount_eventlog import KafkaSettings

from .bulk import Bulk
from .database import Database
from .swap import rows_of
from .view import View

# a rebuild that is lost starts anew, so that nothing has to reach the disk before its swap
# a plan is kept, and what is best for a small table is not for a large one (see bulk.ANALYZED)
SESSION: Final = {"default_statistics_target": "10", "synchronous_commit": "off", "jit": "off", "enable_seqscan": "off"}
CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Share:
    """What one process projects: the partitions of `goal`, up to there, into `schema`. It is pickled, and so are its views."""

    kafka: KafkaSettings
    url: str
    service: str
    views: Sequence[View]
    schema: str
    bare: bool
    goal: Mapping[TopicPartition, int]


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def divided(left: Mapping[TopicPartition, int], processes: int) -> list[list[TopicPartition]]:
    """At most so many shares of about the same number of records (largest partition first, to whom has least); the largest share first."""
    shares: list[tuple[int, list[TopicPartition]]] = [(0, []) for _ in range(min(processes, len(left)))]
    for where in sorted(left, key=lambda where: (-left[where], where)):
        least = min(range(len(shares)), key=lambda number: shares[number][0])
        records, named = shares[least]
        shares[least] = (records + left[where], [*named, where])
    return [named for _, named in sorted(shares, key=lambda share: -share[0])]


async def opened(url: str, service: str, connections: int = CONNECTIONS) -> Database:
    """A process's connections for the rows of a rebuild. Raises: as Database.open."""
    named = {"application_name": f"{rows_of(service)}{os.getpid()}"}
    return await Database.open(url, service=service, connections=connections, session=SESSION | named)


async def projected(share: Share, database: Database, report: Callable[[int], None]) -> None:
    """report: is told after every commit how many records are done. Raises: as Bulk."""
    bulk = Bulk(share.kafka, database, share.views, only=share.goal)
    try:
        await bulk.look()
        await bulk.to(share.goal, lambda: report(bulk.done))
    finally:
        await bulk.stop()
