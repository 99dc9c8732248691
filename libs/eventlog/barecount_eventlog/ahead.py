"""One batch ahead: while an owner judges a batch, the next one is taken and proven."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Final

from aiokafka import TopicPartition

from .ending import end
from .proofs import Proof, Prover
from .reader import Batch, Reader
from .record import Recorded

# fewer are judged sooner than another process has answered
WORTH_PROVING: Final = 50


class Ahead:
    """Always has one batch of at most `limit` records under way. What it holds at `stop` was never decided and is read again."""

    def __init__(self, reader: Reader, where: TopicPartition, limit: int, prover: Prover | None) -> None:
        self._reader, self._where, self._limit, self._prover = reader, where, limit, prover
        self.coming = self._next()

    def fits(self, room: int) -> bool:
        """Whether the batch is there and has at most `room` records. Raises: what ended the reading (LogTruncated, KafkaError)."""
        return self.coming.done() and len(self.coming.result()[0].records) <= room

    def take(self) -> tuple[Batch, Iterator[tuple[Recorded, Proof | None]]]:
        """The batch that is there, with what is known of each record."""
        batch, proofs = self.coming.result()
        self.coming = self._next()
        return batch, zip(batch.records, chain(proofs, repeat(None)), strict=False)

    async def stop(self) -> None:
        await end(self.coming)

    def _next(self) -> asyncio.Task[tuple[Batch, Sequence[Proof | None]]]:
        return asyncio.create_task(self._proven(), name=f"ahead:{self._where.topic}.{self._where.partition}")

    async def _proven(self) -> tuple[Batch, Sequence[Proof | None]]:
        batch = await self._reader.take(self._where, self._limit)
        assert batch is not None
        if self._prover is None or len(batch.records) < WORTH_PROVING:
            return batch, ()
        return batch, await self._prover.prove([record.value for record in batch.records])
