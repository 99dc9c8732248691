"""The only writer of evidence.ledger: source records in, leaves with their coverage out, and signed checkpoints over what was read back.

Two kinds of transactions, by one fenced writer: a batch with the positions of its sources; then, when the mirror has read the batch back
from the log, its checkpoint, alone or at the head of the next batch. So a signature never covers what the log might not hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from barecount_contracts import PLATFORM, Envelope, LedgerCheckpoint, Message, Position, catalogue, event_id
from barecount_eventlog import CodeFault, Deriver, KafkaSettings, OutRecord, Recorded, end_offsets
from barecount_transparency import Checkpoint, SigningKey, sign_checkpoint

from . import metrics
from .domain.batch import Batch, LedgerState, SourcePartition, SourceRecord, close, pack
from .domain.ledger import LedgerTampered
from .mirror import Mirror

log = structlog.get_logger(__name__)

LEDGER = "evidence.ledger"
KEY = b"ledger"


def sources() -> tuple[str, ...]:
    """Every topic that contracts/topics.yaml lets evidence read, the ledger itself aside."""
    return tuple(topic.name for topic in catalogue().readable_by("evidence") if topic.name != LEDGER)


class LedgerWriter:
    """`topics` and `ledger` are given by tests that bring their own."""

    def __init__(
        self,
        kafka: KafkaSettings,
        mirror: Mirror,
        key: SigningKey,
        *,
        topics: Sequence[str] | None = None,
        ledger: str = LEDGER,
        service: str = "evidence",
        max_batch: int = 300,
        linger: float = 0.0,
    ) -> None:
        self._kafka, self._mirror, self._key, self._topic = kafka, mirror, key, ledger
        self._state = LedgerState()
        self._prepared: Batch | None = None
        self._owned = False
        self._wanted: Checkpoint | None = None
        self._signing: Checkpoint | None = None
        self._signed_size = 0
        mirror.grown = self._grown
        self.deriver = Deriver(
            kafka=kafka,
            service=service,
            name="ledger",
            sources=topics if topics is not None else sources(),
            output=ledger,
            output_partition=0,
            transform=self._transform,
            restore=self._restore,
            committed=self._committed,
            max_batch=max_batch,
            linger=linger,
        )

    async def start(self) -> None:
        """Returns when the ledger is taken over, or refused (see `failed`)."""
        await self.deriver.start()

    async def stop(self) -> None:
        self._owned = False
        await self.deriver.stop()

    @property
    def failed(self) -> Exception | None:
        return self._mirror.tampered or self.deriver.failed

    async def _restore(self) -> None:
        """What the ledger says it holds is where this writer goes on; nothing is taken from before the fence."""
        self._owned, self._prepared, self._wanted, self._signing = False, None, None, None
        end = (await end_offsets(self._kafka, self._topic))[0]
        try:
            await self._mirror.reach(end)
            if not self._mirror.ledger.closed:
                raise LedgerTampered("the ledger ends in the middle of a batch: its last record was removed")
        except LedgerTampered as error:
            raise CodeFault("restore", Position(topic=self._topic, partition=0, offset=self._mirror.next), error) from error
        self._state = self._mirror.ledger.state
        published = self._mirror.ledger.published
        self._signed_size = published.size if published is not None else 0
        self._owned = True
        log.info("ledger-owned", leaves=self._state.next_index, published=self._signed_size)
        # a crash between a batch and its checkpoint leaves one to be signed
        self._grown()

    def _grown(self) -> None:
        """The mirror has read on: sign what is closed, once."""
        if not self._owned or self._mirror.tampered is not None:
            return
        wanted = self._mirror.ledger.unsigned()
        under_way = self._signing.size if self._signing is not None else 0
        if wanted is not None and wanted.size > max(self._signed_size, under_way):
            self._wanted = wanted
            self.deriver.poke()

    def _transform(self, records: Sequence[Recorded], covered: Mapping[SourcePartition, tuple[int, int]]) -> list[OutRecord]:
        if self._mirror.tampered is not None:
            raise self._mirror.tampered
        self._signing, self._wanted = self._wanted, None
        out = [] if self._signing is None else [self._checkpoint(self._signing)]
        batch = close(self._state, [_source(record) for record in records], covered)
        parts = pack(self._state.next_index, batch.leaves)
        time = max((record.timestamp for record in records), default=self._mirror.time)
        out += [self._record(part, part.first_index, 0, time) for part in parts]
        self._prepared = batch
        return out

    def _committed(self, ends: Mapping[int, int]) -> None:
        if self._prepared is not None:
            self._state, self._prepared = self._prepared.state, None
        if self._signing is not None:
            self._signed_size, self._signing = self._signing.size, None
            metrics.SIGNED.inc()
        # the mirror may have read the batch before the commit was answered
        self._grown()

    def _checkpoint(self, checkpoint: Checkpoint) -> OutRecord:
        note = sign_checkpoint(checkpoint, self._key).decode()
        payload = LedgerCheckpoint(size=checkpoint.size, root=checkpoint.root.hex(), note=note)
        return self._record(payload, checkpoint.size, 1, self._mirror.time)

    def _record(self, payload: Message, leaf: int, kind: int, time: datetime) -> OutRecord:
        identity = event_id(LEDGER, 0, leaf, kind)
        envelope = Envelope(
            id=identity,
            type=payload.TYPE,
            version=payload.VERSION,
            tenant=PLATFORM,
            time=time,
            correlation=identity,
            data=payload.to_data(),
        )
        headers = (("type", payload.TYPE.encode()), ("content-type", b"application/json"))
        return OutRecord(key=KEY, value=envelope.to_bytes(), headers=headers)


def _source(record: Recorded) -> SourceRecord:
    traceparent = record.headers.get("traceparent", b"").decode("ascii", "replace")
    return SourceRecord(record.position, record.value, record.timestamp, traceparent or None)
