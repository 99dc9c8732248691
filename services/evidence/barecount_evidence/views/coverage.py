"""How far the ledger has come in every source, and the leaves that say so. They belong to everyone: they name no tenant's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from barecount_contracts import LedgerBatch
from barecount_eventlog import Recorded
from barecount_readmodel import Connection

from barecount_evidence.domain.ledger import COVERAGE_PREFIX, coverage_of

from .records import leaves_of


class Coverage:
    NAME = "coverage"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("evidence.ledger",)
    DDL = """
    CREATE TABLE ledger_coverage_leaves (
        leaf_index bigint PRIMARY KEY,
        leaf text NOT NULL
    );
    CREATE TABLE ledger_covered (
        topic text NOT NULL,
        partition integer NOT NULL,
        next_offset bigint NOT NULL,
        count bigint NOT NULL,
        chain text NOT NULL,
        leaf_index bigint NOT NULL,
        PRIMARY KEY (topic, partition)
    );
    CREATE TABLE ledger_causes (
        topic text NOT NULL,
        partition integer NOT NULL,
        next_offset bigint NOT NULL,
        PRIMARY KEY (topic, partition)
    );
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        leaves: list[tuple[int, str]] = []
        covered: dict[tuple[str, int], tuple[int, int, str, int]] = {}
        for record in records:
            payload = record.payload
            if not isinstance(payload, LedgerBatch) or not payload.leaves[-1].encode().startswith(COVERAGE_PREFIX):
                continue
            index = payload.first_index + len(payload.leaves) - 1
            leaves.append((index, payload.leaves[-1]))
            for item in coverage_of(payload.leaves[-1].encode()).ranges:
                count = covered.get((item.topic, item.partition), (0, 0, "", 0))[1] + item.count
                covered[item.topic, item.partition] = (item.next, count, item.chain, index)
        await conn.executemany("INSERT INTO ledger_coverage_leaves VALUES ($1, $2)", leaves)
        await conn.executemany(
            "INSERT INTO ledger_covered VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (topic, partition) DO UPDATE SET "
            "next_offset = excluded.next_offset, count = ledger_covered.count + excluded.count, chain = excluded.chain, "
            "leaf_index = excluded.leaf_index",
            [(*source, *row) for source, row in covered.items()],
        )
        await _note_causes(conn, records)


async def _note_causes(conn: Connection, records: Sequence[Recorded]) -> None:
    """Up to which inbox record the outcomes are in the ledger: consistency tokens name inbox positions."""
    answered: dict[tuple[str, int], int] = {}
    for _, _, record in leaves_of(records):
        if record.cause is not None:
            place = (record.cause.topic, record.cause.partition)
            answered[place] = max(record.cause.offset + 1, answered.get(place, 0))
    await conn.executemany(
        "INSERT INTO ledger_causes VALUES ($1, $2, $3) ON CONFLICT (topic, partition) DO UPDATE SET "
        "next_offset = greatest(ledger_causes.next_offset, excluded.next_offset)",
        [(*place, next_) for place, next_ in answered.items()],
    )


async def covered(conn: Connection) -> list[dict[str, Any]]:
    """Every source partition: next offset, records in all, chain head, and the coverage leaf that says so."""
    rows = await conn.fetch("SELECT * FROM ledger_covered ORDER BY topic, partition")
    return [
        {
            "topic": row["topic"], "partition": row["partition"], "next": row["next_offset"], "count": row["count"],
            "chain": row["chain"], "leaf_index": row["leaf_index"],
        }
        for row in rows
    ]  # fmt: skip


async def reached(conn: Connection, positions: Mapping[tuple[str, int], int]) -> bool:
    """Whether the ledger has every one of these source records, or the outcomes of these inbox records."""
    rows = await conn.fetch(
        "SELECT topic, partition, max(next_offset) AS next FROM (SELECT topic, partition, next_offset FROM ledger_covered UNION ALL "
        "SELECT topic, partition, next_offset FROM ledger_causes) AS every GROUP BY topic, partition"
    )
    known = {(row["topic"], row["partition"]): row["next"] for row in rows}
    return all(known.get(place, 0) > offset for place, offset in positions.items())
