"""Which log a read model was made of: asked before the first row is added to it, so that two logs never meet in one model."""

from __future__ import annotations

import asyncpg
from aiokafka import TopicPartition
from barecount_eventlog import Held, KafkaSettings, Mark, demand_same_log

from .database import Database
from .schema import quoted
from .view import Connection


async def demand_same_model(kafka: KafkaSettings, database: Database, service: str) -> str:
    """Compares every position of the model with the log; the log's cluster id. Positions that name no cluster yet are given it.

    Raises: LogReplaced with what may be done; Kafka's and asyncpg's errors.
    """
    assert database.schema is not None
    async with database.pool.acquire() as conn:
        held = await positions_held(conn, database.schema)
    cluster = await demand_same_log(kafka, held, holder=f"the read model of {service}", remedy=remedy(service))
    if any(one.cluster != cluster for one in held):
        await database.pool.execute(
            f"UPDATE {quoted(database.schema)}.projection_positions SET cluster = $1 WHERE cluster IS DISTINCT FROM $1", cluster
        )
    return cluster


async def positions_held(conn: Connection, schema: str) -> list[Held]:
    rows = await conn.fetch(
        f"SELECT topic, partition, next_offset, cluster, last_offset, last_digest FROM {quoted(schema)}.projection_positions"
    )
    return [Held(TopicPartition(row["topic"], row["partition"]), row["next_offset"], row["cluster"], mark_in(row)) for row in rows]


def mark_in(row: asyncpg.Record) -> Mark | None:
    return Mark(row["last_offset"], bytes(row["last_digest"])) if row["last_digest"] is not None else None


def remedy(service: str) -> str:
    """The end of "…, or": how to go on without the newer log."""
    return f"what it held is given up: barecount rebuild {service} --accept-loss"
