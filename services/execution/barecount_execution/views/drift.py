"""What did runs meet that is not as it used to be, or as its contract says?"""

from __future__ import annotations

from collections.abc import Sequence

from barecount_contracts import DriftDetected
from barecount_eventlog import Recorded
from barecount_readmodel import Connection


class DriftView:
    NAME = "drift"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("runs.events",)
    DDL = """
    CREATE TABLE drift (
        topic_partition integer NOT NULL, "offset" bigint NOT NULL, tenant text NOT NULL, run_id text NOT NULL, pipeline text NOT NULL,
        environment text NOT NULL, data_partition text NOT NULL, kind text NOT NULL, dataset text NOT NULL, expected text NOT NULL,
        actual text NOT NULL, at timestamptz NOT NULL,
        PRIMARY KEY (topic_partition, "offset")
    );
    CREATE INDEX ON drift (tenant, run_id, at, "offset");
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        found = [(record, record.envelope, record.payload) for record in records if record.envelope.type == DriftDetected.TYPE]
        rows = [
            (
                *(record.partition, record.offset, event.tenant, fact.run_id, fact.pipeline, fact.environment, fact.data_partition),
                *(fact.kind, fact.dataset, fact.expected, fact.actual, event.time),
            )
            for record, event, fact in found
            if isinstance(fact, DriftDetected)
        ]
        await conn.executemany("INSERT INTO drift VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING", rows)
