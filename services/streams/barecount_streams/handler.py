"""The only writer of state.changes: three logs in, one CloudEvent for each record that outsiders may know of, exactly once.

The service has no database. Beside the Deriver's own header the last record of every batch and partition carries `restore-from`: the
positions from which the sources must be read again to know the open runs and requests. A take-over looks for the newest one; without any it
reads the sources from their beginning. Readers of state.changes ignore both headers, as every header that they do not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from barecount_contracts import EnvelopeError, catalogue, partition_of
from barecount_eventlog import Deriver, KafkaSettings, OutRecord, Recorded, beginning_offsets, end_offsets, read_all

from . import metrics
from .domain.changes import OUTPUT, SOURCES, change_of
from .domain.known import Known, learn, read_from

log = structlog.get_logger(__name__)

RESTORE_FROM: Final = "restore-from"
_FIRST_LOOK: Final = 64
Places = dict[tuple[str, int], int]


class ChangeWriter:
    """`names` maps the catalogue's topics to others: tests bring their own."""

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        names: Mapping[str, str] | None = None,
        service: str = "streams",
        max_batch: int = 500,
    ) -> None:
        given = names or {}
        self._kafka = kafka
        self._output = given.get(OUTPUT, OUTPUT)
        self._partitions = catalogue().topics[OUTPUT].partitions
        # a record's place is told by the catalogue's name
        self._public = {given.get(name, name): name for name in SOURCES}
        self._known = Known()
        self._prepared: Known | None = None
        self.deriver = Deriver(
            kafka=kafka,
            service=service,
            name="changes",
            sources=list(self._public),
            output=self._output,
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

    @property
    def open_runs(self) -> int:
        return len(self._known.runs)

    def _transform(self, records: Sequence[Recorded], covered: Mapping[tuple[str, int], tuple[int, int]]) -> list[OutRecord]:
        known, out = self._known, list[OutRecord]()
        for record in records:
            known, made = self._told(known, record)
            if made is not None:
                out.append(made)
        self._prepared = known
        return self._marked(out, known, self.deriver.positions | {where: after for where, (_, after) in covered.items()})

    def _told(self, known: Known, record: Recorded) -> tuple[Known, OutRecord | None]:
        try:
            event = record.envelope
        except EnvelopeError:
            # the ledger has it as unreadable; it tells outsiders nothing
            metrics.UNREADABLE.labels(record.topic).inc()
            return known, None
        at = record.position.model_copy(update={"topic": self._public[record.topic]})
        known, change = change_of(known, event, at, _traceparent(record))
        if change is None:
            return known, None
        metrics.DERIVED.labels(change.type).inc()
        key = change.tenant
        return known, OutRecord(key=key, value=change.value(), headers=change.headers(), partition=partition_of(key, self._partitions))

    def _marked(self, out: list[OutRecord], known: Known, positions: Places) -> list[OutRecord]:
        last = {record.partition: index for index, record in enumerate(out)}
        mark = (RESTORE_FROM, _encoded(read_from(known, {(self._public[t], p): o for (t, p), o in positions.items()})))
        for index in last.values():
            out[index] = out[index]._replace(headers=(*out[index].headers, mark))
        return out

    def _committed(self, ends: Mapping[int, int]) -> None:
        if self._prepared is not None:
            self._known, self._prepared = self._prepared, None

    async def _restore(self) -> None:
        until, begin = self.deriver.positions, await self._restore_from()
        known, read = Known(), 0
        for topic, public in self._public.items():
            ends = {partition: offset for (name, partition), offset in until.items() if name == topic}
            start = {partition: begin.get((public, partition), 0) for partition in ends}
            async for batch in read_all(self._kafka, topic, [p for p, end in ends.items() if start[p] < end], start):
                for record in batch.records:
                    if record.offset < ends[record.partition]:
                        known, read = self._learnt(known, record), read + 1
        self._known, self._prepared = known, None
        log.info("changes-restored", open_runs=len(known.runs), open_requests=len(known.requests), events_read=read)

    def _learnt(self, known: Known, record: Recorded) -> Known:
        try:
            at = record.position.model_copy(update={"topic": self._public[record.topic]})
            return learn(known, record.envelope.tenant, record.payload, at)
        except EnvelopeError:
            return known

    async def _restore_from(self) -> Places:
        """Of the newest batch: its positions are the farthest."""
        first, ends = await beginning_offsets(self._kafka, self._output), await end_offsets(self._kafka, self._output)
        found = [await self._last_mark(partition, first[partition], end) for partition, end in ends.items()]
        return max(found, key=lambda one: one[0], default=(0, {}))[1]

    async def _last_mark(self, partition: int, first: int, end: int) -> tuple[int, Places]:
        """(sum of the source positions that the Deriver wrote beside it, the mark). Looks farther back each time: markers lie between."""
        back = _FIRST_LOOK
        while end > first:
            start, found = max(first, end - back), None
            async for batch in read_all(self._kafka, self._output, [partition], {partition: start}):
                for record in batch.records:
                    found = record if RESTORE_FROM in record.headers else found
            if found is not None:
                told = json.loads(found.headers.get("source-positions", b"{}"))
                return sum(offset for row in told.values() for offset in row.values()), _decoded(found.headers[RESTORE_FROM])
            if start == first:
                break
            back *= 4
        return 0, {}


def _encoded(places: Places) -> bytes:
    rows: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in sorted(places.items()):
        rows.setdefault(topic, {})[str(partition)] = offset
    return json.dumps(rows, separators=(",", ":")).encode()


def _decoded(value: bytes) -> Places:
    return {(topic, int(partition)): offset for topic, row in json.loads(value).items() for partition, offset in row.items()}


def _traceparent(record: Recorded) -> str | None:
    value = record.headers.get("traceparent")
    return value.decode("ascii") if value is not None and value.isascii() else None
