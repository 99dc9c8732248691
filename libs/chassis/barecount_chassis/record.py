"""A record as a reader hands it to a policy or a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from barecount_contracts import Heading, Message, Position, read


@dataclass(frozen=True)
class Record:
    """The same face as the event log's Recorded: headers and value as bytes, the broker's timestamp in UTC, the key as text."""

    topic: str
    partition: int
    offset: int
    timestamp: datetime
    key: str
    headers: Mapping[str, bytes]
    value: bytes

    @property
    def position(self) -> Position:
        return Position(topic=self.topic, partition=self.partition, offset=self.offset)

    @property
    def at(self) -> str:
        """topic/partition/offset, for logs."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @cached_property
    def envelope(self) -> Heading:
        """With its payload as its type where this release knows it. Raises: EnvelopeError `malformed-record`."""
        return read(self.value)

    @cached_property
    def payload(self) -> Message:
        """Raises: EnvelopeError `malformed-record`, `unknown-type` or `invalid-payload`."""
        return self.envelope.payload()


def record_of(raw: Any) -> Record:
    """From aiokafka's ConsumerRecord. Undecodable key bytes are replaced; of repeated header names the last one stays."""
    return Record(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        timestamp=datetime.fromtimestamp(raw.timestamp / 1000, UTC),
        key="" if raw.key is None else raw.key.decode("utf-8", "replace"),
        headers={name: value or b"" for name, value in raw.headers},
        value=raw.value or b"",
    )
