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
    """Always has one batch of at most `limit` records under way. What it holds at `stop` was never decided and is read again.

    coming: ends when that batch is there. Of one that was taken in part the rest is there.
    """

    def __init__(self, reader: Reader, where: TopicPartition, limit: int, prover: Prover | None) -> None:
        self._reader, self._where, self._limit, self._prover = reader, where, limit, prover
        self._rest: tuple[Batch, Sequence[Proof | None]] | None = None
        self.coming = self._next()

    @property
    def is_there(self) -> bool:
        """Whether there is something to take."""
        return self._rest is not None or self.coming.done()

    def take(self, most: int) -> tuple[Batch, Iterator[tuple[Recorded, Proof | None]]]:
        """At most so many records (1 or more) of what is there, with what is known of each.

        Raises: what ended the reading (LogTruncated, KafkaError).
        """
        if self._rest is not None:
            batch, proofs = self._rest
        else:
            batch, proofs = self.coming.result()
            self.coming = self._next()
        first, rest = batch.split(most)
        self._rest = None if rest is None else (rest, proofs[most:])
        return first, zip(first.records, chain(proofs, repeat(None)), strict=False)

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
