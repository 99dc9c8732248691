"""The only writer of lineage.events: runs followed in their log, an OpenLineage event where one starts or ends, exactly once.

Everything that an event says stands in runs.events (RunQueued carries manifest and contracts), so the state is that log's alone: after a
take-over it is read again from the oldest run that had not ended. A snapshot only says from where; without one it is the log's beginning.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

import structlog
from barecount_contracts import Cause, Envelope, EnvelopeError, catalogue, event_id, partition_of
from barecount_eventlog import Deriver, KafkaSettings, OutRecord, Recorded, Snapshot, SnapshotStore, read_all
from immutables import Map

from .domain.describe import describe
from .domain.follow import FollowState, emitted, follow, read_from

log = structlog.get_logger(__name__)

RUNS, OUTPUT = "runs.events", "lineage.events"
FORM = "lineage-1"


class LineageWriter:
    """`runs` and `output` are given by tests that bring their own topics."""

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        snapshots: SnapshotStore | None = None,
        runs: str = RUNS,
        output: str = OUTPUT,
        partitions: int | None = None,
        service: str = "lineage",
        max_batch: int = 500,
        snapshot_every: int = 5_000,
    ) -> None:
        self._kafka, self._snapshots, self._service, self._runs = kafka, snapshots, service, runs
        self._partitions = partitions or catalogue().topics[OUTPUT].partitions
        self._state = FollowState()
        self._prepared: FollowState | None = None
        self._since_snapshot, self._every = 0, snapshot_every
        self._saving: asyncio.Task[None] | None = None
        self.deriver = Deriver(
            kafka=kafka,
            service=service,
            name="openlineage",
            sources=[runs],
            output=output,
            output_partition=0,
            transform=self._transform,
            restore=self._restore,
            committed=self._committed,
            max_batch=max_batch,
        )

    async def start(self) -> None:
        await self.deriver.start()

    async def stop(self) -> None:
        await self.deriver.stop()
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)

    @property
    def open_runs(self) -> int:
        return len(self._state.runs)

    async def _restore(self) -> None:
        until = {partition: offset for (_, partition), offset in self.deriver.positions.items()}
        state, start = await self._snapshot(until)
        read = 0
        async for batch in read_all(self._kafka, self._runs, [p for p, end in until.items() if start.get(p, 0) < end], start):
            for record in batch.records:
                if record.offset < until[record.partition]:
                    state, read = self._further(state, record)[0], read + 1
        self._state, self._prepared, self._since_snapshot = state, None, 0
        log.info("lineage-restored", open_runs=len(state.runs), events_read=read)

    async def _snapshot(self, until: Mapping[int, int]) -> tuple[FollowState, dict[int, int]]:
        """The workers known, and from where to read; a snapshot of a later moment than the log's is passed over."""
        found = await self._snapshots.load(self._service, 0, FORM) if self._snapshots is not None else None
        if found is None:
            return FollowState(), {}
        told = json.loads(found.blob)
        taken = {int(partition): offset for partition, offset in told["taken"].items()}
        if any(offset > until.get(partition, 0) for partition, offset in taken.items()):
            return FollowState(), {}
        return FollowState(workers=Map(told["workers"])), {int(partition): offset for partition, offset in told["from"].items()}

    def _transform(self, records: Sequence[Recorded], covered: Mapping[tuple[str, int], tuple[int, int]]) -> list[OutRecord]:
        state, out = self._state, list[OutRecord]()
        for record in records:
            state, made = self._further(state, record)
            if made is not None:
                out.append(made)
        self._prepared = state
        self._since_snapshot += len(records)
        return out

    def _further(self, state: FollowState, record: Recorded) -> tuple[FollowState, OutRecord | None]:
        try:
            event = record.envelope
        except EnvelopeError:
            # no run's life: the ledger has it as unreadable
            return state, None
        state, emission = follow(state, event, record.position)
        if emission is None:
            return state, None
        payload = emitted(emission, describe(emission, event.time))
        envelope = Envelope(
            id=event_id(record.topic, record.partition, record.offset, 0),
            type=payload.TYPE,
            version=payload.VERSION,
            tenant=event.tenant,
            time=event.time,
            correlation=emission.run.correlation,
            cause=Cause(topic=record.topic, partition=record.partition, offset=record.offset),
            data=payload.to_data(),
        )
        headers = [("type", payload.TYPE.encode()), ("content-type", b"application/json")]
        headers += [(name, record.headers[name]) for name in ("traceparent", "tracestate") if name in record.headers]
        key = payload.run_id
        return state, OutRecord(key=key, value=envelope.to_bytes(), headers=headers, partition=partition_of(key, self._partitions))

    def _committed(self, ends: Mapping[int, int]) -> None:
        if self._prepared is not None:
            self._state, self._prepared = self._prepared, None
        if self._snapshots is not None and self._since_snapshot >= self._every and (self._saving is None or self._saving.done()):
            self._since_snapshot = 0
            taken = {partition: offset for (_, partition), offset in self.deriver.positions.items()}
            self._saving = asyncio.create_task(self._save(self._snapshots, self._state, taken), name="lineage-snapshot")

    async def _save(self, snapshots: SnapshotStore, state: FollowState, taken: dict[int, int]) -> None:
        """What is needed to read less at the next take-over; losing it costs time, nothing else."""
        blob = json.dumps({"taken": taken, "from": read_from(state, taken), "workers": dict(state.workers)}, sort_keys=True).encode()
        try:
            await snapshots.save(self._service, 0, Snapshot(FORM, sum(taken.values()), 0, blob))
        except Exception as error:
            log.warning("lineage-snapshot-not-saved", error=repr(error))
