"""What happened: every record leaf by its index, with the columns that people search by. Other tenants' records do not exist here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from barecount_contracts import EvidenceRecord, LedgerBatch
from barecount_eventlog import Recorded
from barecount_readmodel import Connection
from barecount_transparency import loads

from barecount_evidence.domain.ledger import COVERAGE_PREFIX
from barecount_evidence.domain.story import relied_on

INSERT = "INSERT INTO evidence_records VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
RUN_FACTS = ("run_id", "new_run_id")
BEGINNINGS = ("RunRequested", "ReplayApproved", "RunQueued", "RunCancelRequested")
"""Records whose correlation belongs to the run as a whole; a tick's, for one, is shared by many runs."""


class Records:
    NAME = "records"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("evidence.ledger",)
    DDL = """
    CREATE TABLE evidence_records (
        leaf_index bigint PRIMARY KEY,
        tenant text NOT NULL,
        type text NOT NULL,
        outcome text NOT NULL,
        principal text,
        at timestamptz NOT NULL,
        subject_kind text,
        subject_id text,
        correlation uuid NOT NULL,
        command_id uuid,
        source_topic text NOT NULL,
        source_partition integer NOT NULL,
        source_offset bigint NOT NULL,
        relies_on bigint[] NOT NULL,
        leaf text NOT NULL
    );
    CREATE INDEX evidence_records_order ON evidence_records (tenant, leaf_index);
    CREATE INDEX evidence_records_type ON evidence_records (tenant, type, leaf_index);
    CREATE INDEX evidence_records_outcome ON evidence_records (tenant, outcome, leaf_index);
    CREATE INDEX evidence_records_subject ON evidence_records (tenant, subject_kind, subject_id, leaf_index);
    CREATE INDEX evidence_records_correlation ON evidence_records (tenant, correlation, leaf_index);
    CREATE INDEX evidence_records_at ON evidence_records (tenant, at);
    CREATE UNIQUE INDEX evidence_records_source ON evidence_records (source_topic, source_partition, source_offset);
    CREATE TABLE evidence_runs (
        tenant text NOT NULL,
        run_id text NOT NULL,
        leaf_index bigint NOT NULL,
        begins boolean NOT NULL,
        PRIMARY KEY (tenant, run_id, leaf_index)
    );
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        rows: list[tuple[Any, ...]] = []
        runs: list[tuple[Any, ...]] = []
        for index, text, record in leaves_of(records):
            rows.append(_row(index, text, record))
            runs += [(_column(record.tenant), _column(run_id), index, begins) for run_id, begins in _runs_of(record).items()]
        # not COPY: PostgreSQL has none for tables under row-level security
        await conn.executemany(INSERT, rows)
        await conn.executemany("INSERT INTO evidence_runs VALUES ($1, $2, $3, $4)", runs)


def leaves_of(records: Sequence[Recorded]) -> Iterator[tuple[int, str, EvidenceRecord]]:
    """The record leaves of ledger records: index, canonical JSON, record."""
    for record in records:
        payload = record.payload
        if not isinstance(payload, LedgerBatch):
            continue
        for place, text in enumerate(payload.leaves):
            if not text.encode().startswith(COVERAGE_PREFIX):
                yield payload.first_index + place, text, EvidenceRecord.model_validate(loads(text))


async def find(
    conn: Connection,
    *,
    run_id: str | None = None,
    correlation: UUID | None = None,
    type: str | None = None,
    outcome: str | None = None,
    subject_kind: str | None = None,
    subject_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[tuple[int, str]]:
    """(index, leaf) of the records that fit, newest first, below the index `before`."""
    equal = {
        "correlation": correlation, "type": type, "outcome": outcome, "subject_kind": subject_kind, "subject_id": subject_id,
    }  # fmt: skip
    clauses, values = ["true"], list[Any]()

    def add(clause: str, value: Any) -> None:
        values.append(value)
        clauses.append(clause.format(f"${len(values)}"))

    for column, value in equal.items():
        if value is not None:
            add(column + " = {}", value)
    if since is not None:
        add("at >= {}", since)
    if until is not None:
        add("at < {}", until)
    if before is not None:
        add("leaf_index < {}", before)
    if run_id is not None:
        add("leaf_index IN (SELECT leaf_index FROM evidence_runs WHERE run_id = {})", run_id)
    values.append(limit)
    where = " AND ".join(clauses)
    rows = await conn.fetch(
        f"SELECT leaf_index, leaf FROM evidence_records WHERE {where} ORDER BY leaf_index DESC LIMIT ${len(values)}", *values
    )
    return [(row["leaf_index"], row["leaf"]) for row in rows]


async def one(conn: Connection, index: int) -> str | None:
    """A record's leaf; None when there is none for this tenant. A coverage leaf belongs to everyone."""
    found: str | None = await conn.fetchval(
        "SELECT leaf FROM evidence_records WHERE leaf_index = $1 UNION ALL SELECT leaf FROM ledger_coverage_leaves WHERE leaf_index = $1",
        index,
    )
    return found


async def chain_of(conn: Connection, run_id: str, *, limit: int = 5_000) -> list[tuple[int, EvidenceRecord, str]]:
    """The records of a run's chain in ledger order: its own, those of the commands that began or cancelled it, and what they relied on."""
    rows = await conn.fetch(
        """
        WITH began AS (
            SELECT DISTINCT correlation FROM evidence_records
            WHERE leaf_index IN (SELECT leaf_index FROM evidence_runs WHERE run_id = $1 AND begins)
        ), own AS (
            SELECT leaf_index, leaf, relies_on FROM evidence_records WHERE correlation IN (SELECT correlation FROM began)
            UNION
            SELECT leaf_index, leaf, relies_on FROM evidence_records WHERE subject_kind = 'run' AND subject_id = $1
        )
        SELECT leaf_index, leaf FROM own
        UNION
        SELECT leaf_index, leaf FROM evidence_records WHERE leaf_index IN (SELECT unnest(relies_on) FROM own)
        ORDER BY leaf_index LIMIT $2
        """,
        run_id,
        limit,
    )
    return [(row["leaf_index"], EvidenceRecord.model_validate(loads(row["leaf"])), row["leaf"]) for row in rows]


async def bundle(conn: Connection, start: int, count: int) -> list[bytes] | None:
    """All leaves of [start, start + count) in order, coverage leaves among them; None when this tenant may not see every one."""
    rows = await conn.fetch(
        "SELECT leaf FROM (SELECT leaf_index, leaf FROM evidence_records WHERE leaf_index >= $1 AND leaf_index < $2 UNION ALL "
        "SELECT leaf_index, leaf FROM ledger_coverage_leaves WHERE leaf_index >= $1 AND leaf_index < $2) AS every ORDER BY leaf_index",
        start,
        start + count,
    )
    return [row["leaf"].encode() for row in rows] if len(rows) == count else None


def _row(index: int, text: str, record: EvidenceRecord) -> tuple[Any, ...]:
    subject = record.subject
    return (
        index, _column(record.tenant), _column(record.type), record.outcome, _column(record.principal), record.at,
        _column(None if subject is None else subject.kind), _column(None if subject is None else subject.id),
        record.correlation, record.command_id, record.source.topic, record.source.partition, record.source.offset,
        list(relied_on(record)), text,
    )  # fmt: skip


def _runs_of(record: EvidenceRecord) -> dict[str, bool]:
    """The runs that a record names, and whether it begins what is told of that run."""
    named = {name: record.facts[name] for name in RUN_FACTS if isinstance(record.facts.get(name), str)}
    runs = dict.fromkeys(named.values(), False)
    own = record.subject.id if record.subject is not None and record.subject.kind == "run" else named.get("new_run_id")
    return runs if own is None else runs | {own: record.type in BEGINNINGS}


def _column(text: str | None) -> str | None:
    """PostgreSQL text holds no NUL; the leaf itself, being JSON, has it escaped."""
    return None if text is None else text.replace("\x00", "\ufffd")
