"""One read record and one record to be written, as every part of this library passes them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from barecount_contracts import CloudEvent, Envelope, Heading, Message, Position, catalogue, parse, read, trusted

Headers = Sequence[tuple[str, bytes]]


@dataclass(slots=True)
class Recorded:
    """A record as it stands in the log. Nobody changes one; it is not frozen because making a frozen one takes 2.7 µs instead of 0.6.

    timestamp: UTC; the broker's (LogAppendTime) when `broker_time`, else the sender's. key: undecodable bytes are replaced, `raw_key` has
    them. headers: raw bytes, never decoded here; of repeated names the last. value: empty when the record has none.
    """

    topic: str
    partition: int
    offset: int
    timestamp: datetime
    key: str
    headers: Mapping[str, bytes]
    value: bytes
    raw_key: bytes | None = None
    broker_time: bool = True
    _envelope: Heading | None = field(default=None, init=False, repr=False, compare=False)
    _cloud_event: CloudEvent | None = field(default=None, init=False, repr=False, compare=False)
    _payload: Message | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def position(self) -> Position:
        return trusted(Position, {"topic": self.topic, "partition": self.partition, "offset": self.offset})

    @property
    def envelope(self) -> Heading:
        """The value, with its payload as its type where this release knows it; read once. Raises: EnvelopeError `malformed-record`."""
        if self._envelope is None:
            self._envelope = read(self.value)
        return self._envelope

    def whole(self) -> Envelope:
        """The value with its payload as the sender wrote it; read each time. Raises: EnvelopeError `malformed-record`."""
        return parse(self.value)

    @property
    def is_cloud_event(self) -> bool:
        """Whether the topic's records are CloudEvents instead of envelopes. The catalogue says so, never the record itself."""
        return _holds_cloud_events(self.topic)

    @property
    def cloud_event(self) -> CloudEvent:
        """The record as a CloudEvent; read once. Raises: EnvelopeError `malformed-record`."""
        if self._cloud_event is None:
            self._cloud_event = CloudEvent.of_record(self.headers, self.value)
        return self._cloud_event

    @property
    def payload(self) -> Message:
        """The typed payload; read once. Raises: EnvelopeError `malformed-record`, `unknown-type` or `invalid-payload`."""
        if self._payload is None:
            self._payload = self.cloud_event.change() if self.is_cloud_event else self.envelope.payload()
        return self._payload


@cache
def _holds_cloud_events(topic: str) -> bool:
    known = catalogue().topics.get(topic)
    return known is not None and known.form == "cloudevent"


def recorded(raw: Any) -> Recorded:
    """From an aiokafka ConsumerRecord."""
    key: bytes | None = raw.key
    return Recorded(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        timestamp=datetime.fromtimestamp(raw.timestamp / 1000, UTC),
        key="" if key is None else key.decode("utf-8", "replace"),
        headers={name: value or b"" for name, value in raw.headers},
        value=raw.value or b"",
        raw_key=key,
        broker_time=raw.timestamp_type == 1,
    )


class OutRecord(NamedTuple):
    """A record to be written. partition None: the writer's default (Deriver: its output partition)."""

    key: bytes | str | None
    value: bytes
    headers: Headers = ()
    partition: int | None = None
    topic: str | None = None

    @property
    def key_bytes(self) -> bytes | None:
        return self.key.encode() if isinstance(self.key, str) else self.key

    @property
    def size(self) -> int:
        """An upper bound of the bytes in a Kafka record batch (value, key, headers and the record's own fields)."""
        headers = self.headers
        size = len(self.value) + len(self.key_bytes or b"") + 40 + 10 * len(headers)
        for name, value in headers:
            size += len(name) + len(value)
        return size
