"""Which tree heads were signed: the sizes that proofs may be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from barecount_contracts import LedgerCheckpoint
from barecount_eventlog import Recorded
from barecount_readmodel import Connection


@dataclass(frozen=True, slots=True)
class Head:
    """A published checkpoint: leaves, root (hex), signed note."""

    size: int
    root: str
    note: str


class Checkpoints:
    NAME = "checkpoints"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("evidence.ledger",)
    DDL = """
    CREATE TABLE ledger_checkpoints (
        size bigint PRIMARY KEY,
        root text NOT NULL,
        note text NOT NULL,
        ledger_offset bigint NOT NULL
    );
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        rows = [
            (payload.size, payload.root, payload.note, record.offset)
            for record in records
            if isinstance(payload := record.payload, LedgerCheckpoint)
        ]
        # a writer that crashed after it signed signs the same size again: the same statement
        await conn.executemany("INSERT INTO ledger_checkpoints VALUES ($1, $2, $3, $4) ON CONFLICT (size) DO NOTHING", rows)


async def head(conn: Connection, size: int | None = None) -> Head | None:
    """The checkpoint of exactly this size, or the newest."""
    where = "WHERE size = $1" if size is not None else "WHERE $1::bigint IS NULL ORDER BY size DESC LIMIT 1"
    row = await conn.fetchrow(f"SELECT size, root, note FROM ledger_checkpoints {where}", size)
    return None if row is None else Head(row["size"], row["root"], row["note"])
