"""What a handler remembers besides the domain: ids seen, high-water marks, the inbox position and the clock. An immutable value.

Everything here is restored from the `cause` of the partition's own events; nothing else feeds it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from barecount_contracts import Cause, Heading, RecordRejected
from immutables import Map

from .ids import KEY, VALUE, Ids

BUCKETS = 8
_SEEN = struct.Struct(">qq16s")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Seen:
    """The first time of a command id: its inbox offset, broker time in ms and the first 16 bytes of its digest."""

    offset: int
    at: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest source offset whose command was decided, where that command stood in the inbox, and the ids derived from that offset.

    One source record may become several commands in one inbox partition, so an equal offset is a duplicate only under a known id.
    """

    source: int
    offset: int
    ids: frozenset[bytes]


Buckets = tuple[tuple[int, Ids], ...]
MarkKey = tuple[str, int, str]  # source topic, source partition, command type: two policies may read one log at different speeds


class Books(NamedTuple):
    """A tuple, because one is made for every event that is restored.

    inbox_next: the first inbox offset without an outcome. clock: ms since 1970, the newest broker time, never going backwards.

    buckets: (index, ids) from old to new, `BUCKETS` of them cover the idempotency window; an old one is dropped whole.
    rejected: how many inbox records were let in by nobody, by code, since the log began.
    """

    window: int
    inbox_next: int = 0
    clock: int = 0
    buckets: Buckets = ()
    marks: Map[MarkKey, Mark] = Map()
    rejected: Map[str, int] = Map()

    @classmethod
    def empty(cls, window: timedelta) -> Books:
        return cls(window=max(1, int(window / timedelta(milliseconds=1))))

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(milliseconds=self.clock)

    def tell(self, timestamp: datetime) -> int:
        """The time of a record in ms, made monotone."""
        since = timestamp - EPOCH
        # in whole numbers: dividing one timedelta by another took a tenth of a restore
        told = since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
        return told if told > self.clock else self.clock

    def first(self, command_id: UUID, now: int) -> Seen | None:
        """The first time of this id within the window that ends now."""
        key = command_id.bytes
        for _, ids in reversed(self.buckets):
            found = ids.get(key)
            if found is not None:
                seen = Seen(*_SEEN.unpack(found))
                return seen if seen.at + self.window > now else None
        return None

    def below_mark(self, command: Heading) -> Mark | None:
        """The mark that makes a policy's command a repetition, or None when it is news."""
        if command.source is None:
            return None
        mark = self.marks.get((command.source.topic, command.source.partition, command.type))
        if mark is None or command.source.offset > mark.source:
            return None
        return mark if command.source.offset < mark.source or command.id.bytes in mark.ids else None

    def record(self, event: Heading, *, keeps_id: bool, keeps_mark: bool) -> Books:
        """The books after the outcome (index 0) of an inbox offset."""
        cause = event.cause
        assert cause is not None
        clock, width = self.tell(event.time), self.window // BUCKETS or 1
        buckets, marks, rejected = self._evict(clock, width), self.marks, self.rejected
        if keeps_id and cause.command_id is not None:
            buckets = self._with(buckets, cause, clock, width)
        if keeps_mark and cause.command_id is not None and cause.source is not None and cause.command_type is not None:
            marks = self._marked(cause)
        if event.type == RecordRejected.TYPE and isinstance(told := event.payload(), RecordRejected):
            code = told.code
            rejected = rejected.set(code, rejected.get(code, 0) + 1)
        following = cause.offset + 1
        return Books(self.window, following if following > self.inbox_next else self.inbox_next, clock, buckets, marks, rejected)

    def record_all(self, outcomes: Iterable[tuple[Heading, bool, bool]]) -> Books:
        """As `record` of one after the other, without a value for each. outcomes: event, keeps_id, keeps_mark."""
        books, clock, following, pairs = self, self.clock, self.inbox_next, list[tuple[bytes, bytes]]()
        until = books._alike_until()
        for event, keeps_id, keeps_mark in outcomes:
            cause = event.cause
            assert cause is not None
            told = books.tell(event.time)
            # an id for the newest bucket, and nothing else: so is all but a few of a long log
            if keeps_id and cause.command_id is not None and cause.source is None and told < until and event.type != RecordRejected.TYPE:
                clock = told if told > clock else clock
                following = cause.offset + 1 if cause.offset >= following else following
                pairs.append((cause.command_id.bytes, _SEEN.pack(cause.offset, clock, short_digest(cause.command_digest))))
            else:
                books = books._with_all(pairs, following, clock).record(event, keeps_id=keeps_id, keeps_mark=keeps_mark)
                clock, following, pairs, until = books.clock, books.inbox_next, [], books._alike_until()
        return books._with_all(pairs, following, clock)

    def _alike_until(self) -> int:
        """The clock at which an id goes into another bucket than the newest, or an old bucket goes."""
        if not self.buckets:
            return 0
        width = self.window // BUCKETS or 1
        return min((self.buckets[-1][0] + 1) * width, (self.buckets[0][0] + 1) * width + self.window)

    def _with_all(self, pairs: list[tuple[bytes, bytes]], following: int, clock: int) -> Books:
        if not pairs:
            return self
        index, ids = self.buckets[-1]
        buckets = (*self.buckets[:-1], (index, ids.add_all(pairs)))
        return Books(self.window, following, clock, buckets, self.marks, self.rejected)

    def _evict(self, clock: int, width: int) -> Buckets:
        if not self.buckets or (self.buckets[0][0] + 1) * width + self.window > clock:
            return self.buckets
        return tuple(bucket for bucket in self.buckets if (bucket[0] + 1) * width + self.window > clock)

    def _with(self, buckets: Buckets, cause: Cause, clock: int, width: int) -> Buckets:
        assert cause.command_id is not None
        key, index = cause.command_id.bytes, clock // width
        value = _SEEN.pack(cause.offset, clock, short_digest(cause.command_digest))
        # the clock is monotone, so only the newest bucket ever grows
        if buckets and buckets[-1][0] == index:
            return (*buckets[:-1], (index, buckets[-1][1].add(key, value)))
        return (*buckets, (index, Ids().add(key, value)))

    def _marked(self, cause: Cause) -> Map[MarkKey, Mark]:
        assert cause.source is not None
        assert cause.command_type is not None
        assert cause.command_id is not None
        where = (cause.source.topic, cause.source.partition, cause.command_type)
        old, added = self.marks.get(where), cause.command_id.bytes
        if old is not None and cause.source.offset < old.source:
            return self.marks
        ids = old.ids | {added} if old is not None and old.source == cause.source.offset else frozenset({added})
        return self.marks.set(where, Mark(cause.source.offset, cause.offset, ids))

    def dump(self) -> bytes:
        """Canonical: equal books give equal bytes. A line of JSON, then 48 bytes for every id: there may be a million."""
        head = {
            "window": self.window,
            "inbox_next": self.inbox_next,
            "clock": self.clock,
            "buckets": [[index, len(ids)] for index, ids in self.buckets],
            "marks": sorted([*key, m.source, m.offset, sorted(i.hex() for i in m.ids)] for key, m in self.marks.items()),
            "rejected": dict(sorted(self.rejected.items())),
        }
        return b"".join([json.dumps(head, separators=(",", ":")).encode(), b"\n", *(ids.dump() for _, ids in self.buckets)])

    @classmethod
    def load(cls, blob: bytes) -> Books:
        view, line = memoryview(blob), blob.index(b"\n")
        raw, at, buckets = json.loads(str(view[:line], "utf-8")), line + 1, []
        for index, count in raw["buckets"]:
            end = at + count * (KEY + VALUE)
            buckets.append((index, Ids.load(bytes(view[at:end]))))
            at = end
        return cls(
            window=raw["window"],
            inbox_next=raw["inbox_next"],
            clock=raw["clock"],
            buckets=tuple(buckets),
            marks=Map({(t, p, c): Mark(s, o, frozenset(map(bytes.fromhex, ids))) for t, p, c, s, o, ids in raw["marks"]}),
            rejected=Map(raw["rejected"]),
        )


def short_digest(digest: str | None) -> bytes:
    """The first 16 bytes of a `sha256:<hex>` digest: enough to tell two bodies under one key apart."""
    return bytes.fromhex(digest.removeprefix("sha256:"))[:16] if digest else bytes(16)
