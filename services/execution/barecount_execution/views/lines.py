"""What did the stages of a run log, and which records could they not take?"""

from __future__ import annotations

from collections.abc import Sequence

from barecount_contracts import RecordDeadLettered, RunLogged
from barecount_eventlog import Recorded
from barecount_readmodel import Connection, insert_rows
from pydantic_core import to_json

_LOG = (
    *("tenant", "kafka_partition", "kafka_offset", "run_id", "stage", "data_partition", "attempt", "worker_id"),
    *("level", "event", "error_type", "fields", "sequence", "logged_at"),
)
_ENTRY = (
    *("tenant", "entry_id", "kafka_partition", "kafka_offset", "run_id", "pipeline", "stage", "data_partition", "attempt"),
    *("error_type", "reason", "source_path", "source_line", "payload", "recorded_at"),
)


class LogsView:
    NAME = "logs"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("run.logs",)
    # a run's lines stand in one partition, so its offsets are their order
    DDL = """
    CREATE TABLE logs (
        tenant text NOT NULL, kafka_partition integer NOT NULL, kafka_offset bigint NOT NULL, run_id text NOT NULL, stage text NOT NULL,
        data_partition text NOT NULL, attempt integer NOT NULL, worker_id text NOT NULL, level text NOT NULL, event text NOT NULL,
        error_type text, fields jsonb NOT NULL, sequence integer NOT NULL, logged_at timestamptz NOT NULL
    );
    """
    INDEXES = """
    ALTER TABLE logs ADD PRIMARY KEY (kafka_partition, kafka_offset);
    CREATE INDEX ON logs (tenant, run_id, kafka_offset);
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        rows = []
        for record in records:
            line, head = record.payload, record.envelope
            if isinstance(line, RunLogged):
                what = (line.level, line.event, line.error_type, to_json(line.fields).decode(), line.sequence, head.time)
                where = (line.run_id, line.stage, line.data_partition, line.attempt, line.worker_id)
                rows.append((head.tenant, record.partition, record.offset, *where, *what))
        await insert_rows(conn, "logs", _LOG, rows)


class DeadLettersView:
    NAME = "dead_letters"
    VERSION = 1
    TOPICS: tuple[str, ...] = ("dlq",)
    DDL = """
    CREATE TABLE dead_letters (
        tenant text NOT NULL, entry_id text NOT NULL, kafka_partition integer NOT NULL, kafka_offset bigint NOT NULL, run_id text NOT NULL,
        pipeline text NOT NULL, stage text NOT NULL, data_partition text NOT NULL, attempt integer NOT NULL, error_type text NOT NULL,
        reason text NOT NULL, source_path text NOT NULL, source_line integer, payload text NOT NULL, recorded_at timestamptz NOT NULL,
        PRIMARY KEY (tenant, entry_id)
    );
    """
    INDEXES = """
    CREATE INDEX ON dead_letters (tenant, recorded_at, kafka_partition, kafka_offset);
    CREATE INDEX ON dead_letters (tenant, run_id, recorded_at, kafka_partition, kafka_offset);
    """

    async def apply(self, conn: Connection, records: Sequence[Recorded]) -> None:
        rows = []
        for record in records:
            match record.payload:
                case RecordDeadLettered() as entry:
                    where = (record.envelope.tenant, entry.entry_id, record.partition, record.offset)
                    of = (entry.run_id, entry.pipeline, entry.stage, entry.data_partition, entry.attempt)
                    # PostgreSQL text holds no NUL, a broken source file may
                    payload = entry.payload.replace("\x00", "\ufffd")
                    what = (entry.error_type, entry.reason, entry.source.path, entry.source.line, payload, record.envelope.time)
                    rows.append((*where, *of, *what))
                case _:
                    pass
        # a worker that was killed and came back may have written an entry twice
        await insert_rows(conn, "dead_letters", _ENTRY, rows, on_conflict="DO NOTHING")
