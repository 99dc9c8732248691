"""Runs as execution would write them, on topics of their own, and the lineage log read as a judge reads it."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from barecount_contracts import (
    Bodies,
    ContractBody,
    ContractRef,
    DataPartitionPublished,
    Envelope,
    InputFile,
    LineageEmitted,
    Message,
    PlanSummary,
    Publication,
    RunQueued,
    RunStarted,
    RunSucceeded,
    RunTotals,
    StageMetrics,
    TaskRef,
    TaskSucceeded,
)
from barecount_eventlog import Appender, KafkaSettings, read_all
from barecount_lineage.handler import LineageWriter

from tests.integration.eventlog.kit import create_topics, settings_of
from tests.support.forks import Forked, forked
from tests.support.lineage import CONTRACTS, MANIFEST
from tests.support.servers import Kafka

DAY = "2025-10-04"
NAMESPACE = UUID("00000000-0000-5000-8000-000000000007")
LANDING = f"acme/landing/transactions/{DAY}.csv"
TABLE = "acme/prod/tables/revenue_kpi"
KPI = f"{TABLE}/day={DAY}"


def plan(rerun_of: str | None = None) -> PlanSummary:
    return PlanSummary(
        pipeline="revenue-kpi", environment="prod", manifest_version=2, manifest_digest="sha256:m",
        contract=ContractRef(name="revenue-kpi", version="v3.2"), data_partitions=(DAY,), mode="replay" if rerun_of else "run",
        rerun_of=rerun_of, root_run=rerun_of,
    )  # fmt: skip


def life(run: str, *, rerun_of: str | None = None, delta_version: int = 7) -> list[Message]:
    """A run from queue to success."""
    bodies = Bodies(
        manifest=MANIFEST,
        contracts=tuple(ContractBody(name=c["name"], version=c["version"], digest="sha256:c", document=c) for c in CONTRACTS),
    )
    task = TaskRef(stage="read", data_partition=DAY, attempt=1, nonce="n", worker_id="w1", incarnation="i")
    totals = RunTotals(records_in=9, records_out=9, dead_lettered=0, error_rate="0.000000", duration_ms=5, reconciled=True)
    publication = Publication(table=TABLE, data_partition=DAY, delta_version=delta_version, ticket=3, files_digest="sha256:d", records=5)
    read = InputFile(path=LANDING, digest="sha256:f", bytes=400)
    return [
        RunQueued(run_id=run, pool="default", plan=plan(rerun_of), plan_digest="sha256:p", bodies=bodies),
        RunStarted(run_id=run),
        TaskSucceeded(run_id=run, task=task, metrics=StageMetrics(records_in=9), inputs=(read,)),
        DataPartitionPublished(run_id=run, publication=publication),
        RunSucceeded(run_id=run, plan=plan(rerun_of), plan_digest="sha256:p", totals=totals),
    ]


def event_of(payload: Message, tenant: str = "acme") -> Envelope:
    run = str(getattr(payload, "run_id", ""))
    identity = uuid5(NAMESPACE, f"{tenant}/{run}/{payload.TYPE}")
    correlation = uuid5(NAMESPACE, f"{tenant}/{run}")
    return Envelope(id=identity, type=payload.TYPE, tenant=tenant, time=datetime.now(UTC), correlation=correlation, data=payload.to_data())


@dataclass(frozen=True)
class Place:
    kafka: KafkaSettings
    runs: str
    output: str
    service: str

    @classmethod
    async def create(cls, kafka: Kafka) -> Place:
        settings = settings_of(kafka)
        (runs,) = await create_topics(settings, "runs", partitions=2)
        (output,) = await create_topics(settings, "lineage", partitions=2)
        return cls(settings, runs, output, f"lineage-{secrets.token_hex(3)}")

    @asynccontextmanager
    async def writer(self, **more: Any) -> AsyncIterator[LineageWriter]:
        writer = LineageWriter(self.kafka, runs=self.runs, output=self.output, partitions=2, service=self.service, **more)
        await writer.start()
        try:
            yield writer
        finally:
            await writer.stop()

    async def process(self) -> Forked:
        given = json.dumps(
            {
                "bootstrap": self.kafka.bootstrap, "username": self.kafka.username, "password": self.kafka.password,
                "runs": self.runs, "output": self.output, "service": self.service,
            }
        )  # fmt: skip
        return await forked("tests.integration.lineage.writer_process", given)

    async def play(self, appender: Appender, *payloads: Message, key: str = "pool") -> None:
        for payload in payloads:
            await appender.append(self.runs, key, event_of(payload))

    async def emitted(self) -> list[tuple[str, str]]:
        """(run, event type) of everything in the lineage log."""
        found: list[tuple[str, str]] = []
        async for batch in read_all(self.kafka, self.output):
            for record in batch.records:
                payload = record.payload
                assert isinstance(payload, LineageEmitted)
                found.append((payload.run_id, payload.event_type))
        return found
