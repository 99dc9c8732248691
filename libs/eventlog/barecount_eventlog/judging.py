"""One inbox record in, its events out: the pure step between reading a batch and committing it. Every generic rule of an inbox is here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta
from typing import Final, Generic, NamedTuple, TypeVar, cast

from barecount_contracts import (
    PLATFORM,
    Cause,
    CommandDuplicated,
    CommandRefused,
    Envelope,
    EnvelopeError,
    Heading,
    Message,
    Position,
    RecordRejected,
    TypedEnvelope,
    bytes_digest,
    command_digest,
    event_id,
    murmur2,
    read,
    trusted,
    typed_class,
)

from .books import EPOCH, Books, Seen, short_digest
from .decider import Asking, Decider, Emit, EvolvesAll, Gate, Inbound, Refusal
from .errors import CodeFault, EventlogError
from .proofs import Proof
from .record import Headers, OutRecord, Recorded
from .replay import Replayed

S = TypeVar("S")

KEY_REUSED: Final = "idempotency-key-reused"
# they decide nothing: the command's first outcome stands
REPEATS: Final = frozenset({"CommandDuplicated", "RecordRejected"})
OVERSIZED: Final = "oversized-record"
# an event carries its command's key on: a longer one would make an answer that the broker refuses
LONGEST_KEY: Final = 512
LONGEST_DETAIL: Final = 2_000
CONTENT_TYPE: Final = (("content-type", b"application/json"),)


class PartitionState(NamedTuple, Generic[S]):
    """Everything the owner of a partition knows: the domain's state and the books. Replaced as one value after a commit.

    A tuple, as the books are: one is made for every event that is restored.
    """

    domain: S
    books: Books


class Judged(NamedTuple, Generic[S]):
    """out: the records of this inbox offset, index 0 first. state: as it is once they are committed. outcome: the type of index 0."""

    out: tuple[OutRecord, ...]
    state: PartitionState[S]
    outcome: str
    refused: str | None


class Judge(Generic[S]):
    """Holds the rules of one inbox; keeps nothing between calls."""

    def __init__(
        self,
        *,
        inbox: str,
        events: str,
        partitions: int,
        decider: Decider[S],
        gate: Gate[S],
        window: timedelta,
        forgets: Collection[str] = (),
        max_record_bytes: int = 1_048_576,
        max_event_bytes: int = 1_000_000,
        trace: Callable[[Recorded], Headers] = lambda record: (),
    ) -> None:
        self._inbox, self._events, self._partitions = inbox, events, partitions
        self._decider, self._gate, self._window = decider, gate, window
        # an owner's tick repeats harmlessly; remembering every one for the whole window would only cost memory
        self._forgets = frozenset({"Tick", *forgets})
        self._max_record, self._max_event, self._trace = max_record_bytes, max_event_bytes, trace
        self._evolve_all = decider.evolve_all if isinstance(decider, EvolvesAll) else self._one_by_one

    @property
    def schema(self) -> str:
        """Names the form of a snapshot: another decider version or window must not read it."""
        return f"books3/{self._window.total_seconds():g}/{self._decider.SNAPSHOT_VERSION}"

    def initial(self) -> PartitionState[S]:
        return PartitionState(self._decider.initial(), Books.empty(self._window))

    def judge(self, state: PartitionState[S], record: Recorded, proof: Proof | None = None) -> Judged[S]:
        """The outcome of one inbox record. proof: what is known of its value already.

        Raises: CodeFault when decide, evolve or the gate raises.
        """
        if not record.broker_time:
            raise EventlogError(
                f"{record.topic} carries the senders' clocks; set message.timestamp.type=LogAppendTime, because broker time decides"
            )
        now = state.books.tell(record.timestamp)
        found = self._admit(state, record, now, proof)
        if isinstance(found, Refusal):
            # what the sender wrote stands in the detail: none of it may make the answer larger than the log takes
            detail = found.detail[:LONGEST_DETAIL]
            rejected = RecordRejected(code=found.code, detail=detail, size=len(record.value), digest=bytes_digest(record.value))
            asked = record.whole() if found.proven else None
            return self._answer(state, record, asked, None, now, [Emit(rejected)], found.code)
        command, payload, key, seen, digest = found
        repeated = self._repeated(state.books, record, command, digest, seen)
        if repeated is not None:
            return self._answer(state, record, command, digest, now, [Emit(repeated)], getattr(repeated, "code", None))
        inbound = Inbound(command, payload, record.position, key, EPOCH + timedelta(milliseconds=now), record.value)
        try:
            emits = list(self._decider.decide(state.domain, inbound))
            if not emits or emits[0].topic not in (None, self._events):
                raise ValueError("decide must answer with at least one event, and the first one on its own events topic")
        except Exception as error:
            raise CodeFault("decide", record.position, error) from error
        first = emits[0].payload
        return self._answer(state, record, command, digest, now, emits, first.code if isinstance(first, CommandRefused) else None)

    def evolve(self, state: PartitionState[S], event: Heading, read: Recorded | Replayed) -> PartitionState[S]:
        """The state after one event of the own events topic. read: the inbox record it answers now, or the restored event itself.

        Raises: CodeFault when the decider's evolve raises.
        """
        try:
            return PartitionState(self._decider.evolve(state.domain, event), self._entered(state.books, event))
        except Exception as error:
            raise CodeFault("evolve", read.position, error) from error

    def restore(self, state: PartitionState[S], records: Sequence[Replayed]) -> PartitionState[S]:
        """The state after these records of the own events topic: as `evolve` of one after the other, in less time where many are alike.

        Raises: CodeFault when this release cannot read one, or the decider's evolve raises.
        """
        events = []
        for record in records:
            try:
                events.append(record.envelope())
            except EnvelopeError as error:
                # nobody else may write here: an event that this release cannot read must not be passed over
                raise CodeFault("restore", record.position, error) from error
        try:
            return PartitionState(self._evolve_all(state.domain, events), state.books.record_all(self._outcomes(events)))
        except Exception:
            # once more, by itself each: the one at fault raises again and is named; nothing was kept of the first try
            for event, record in zip(events, records, strict=True):
                state = self.evolve(state, event, record)
            return state

    def _one_by_one(self, domain: S, events: Sequence[Heading]) -> S:
        for event in events:
            domain = self._decider.evolve(domain, event)
        return domain

    def _entered(self, books: Books, event: Heading) -> Books:
        if event.cause is None or event.cause.index:
            return books
        keeps_id, keeps_mark = self._keeps(event, event.cause)
        return books.record(event, keeps_id=keeps_id, keeps_mark=keeps_mark)

    def _outcomes(self, events: Sequence[Heading]) -> Iterator[tuple[Heading, bool, bool]]:
        for event in events:
            if event.cause is not None and not event.cause.index:
                yield event, *self._keeps(event, event.cause)

    def _keeps(self, event: Heading, cause: Cause) -> tuple[bool, bool]:
        """Whether the books keep the id of the command that this outcome answers, and its source."""
        kept = event.type not in REPEATS
        if event.type == CommandRefused.TYPE and isinstance(refused := event.payload(), CommandRefused):
            kept = refused.code != KEY_REUSED
        return kept and cause.command_type not in self._forgets, kept

    def _admit(
        self, state: PartitionState[S], record: Recorded, now: int, proof: Proof | None
    ) -> tuple[Heading, Message, str, Seen | None, str] | Refusal:
        size = len(record.value) + len(record.raw_key or b"")
        if size > self._max_record:
            return Refusal(OVERSIZED, f"the record has {size} bytes; at most {self._max_record} are read")
        try:
            # as the sender wrote it: that is what was signed; what was proven already is read with its payload in one pass
            command = record.whole() if proof is None else read(record.value)
        except EnvelopeError as error:
            return Refusal(error.code, error.detail)
        key = self._key(record)
        if isinstance(key, Refusal):
            return key
        try:
            digest = command_digest(cast("Envelope", command)) if proof is None else proof.digest
        except ValueError as error:
            # before the gate, which looks at the digest too
            return Refusal("malformed-record", f"the command has no digest (RFC 8785): {error}; write such a number as text")
        seen = state.books.first(command.id, now)
        first = _at(record, seen.offset) if seen is not None else None
        try:
            time, vouched = EPOCH + timedelta(milliseconds=now), None if proof is None else proof.vouched
            refused = self._gate(command, Asking(record, state.domain, time, first, digest, vouched))
        except Exception as error:
            raise CodeFault("gate", record.position, error) from error
        try:
            payload = command.payload()
        except EnvelopeError as error:
            # what is wrong with it comes before who may ask it; whose it is, the gate knows (and an event repeats the type's name)
            proven = (refused is None or refused.proven) and len(command.type) <= LONGEST_KEY
            return Refusal(error.code, error.detail, proven)
        return refused if refused is not None else (command, payload, key, seen, digest)

    def _key(self, record: Recorded) -> str | Refusal:
        """The record's key, which must belong to the partition that the record stands in."""
        if record.raw_key is None:
            return Refusal("wrong-partition", "the record has no key, so no partition is its own")
        if len(record.raw_key) > LONGEST_KEY:
            return Refusal("malformed-record", f"the key has {len(record.raw_key)} bytes; at most {LONGEST_KEY} are taken")
        try:
            key = record.raw_key.decode()
        except UnicodeDecodeError:
            return Refusal("malformed-record", "the key is not UTF-8")
        belongs = murmur2(record.raw_key) % self._partitions
        if belongs != record.partition:
            return Refusal(
                "wrong-partition",
                f"key {key!r} belongs to partition {belongs} of {self._inbox}, not {record.partition}; "
                f"partition by murmur2 (librdkafka: partitioner=murmur2_random)",
            )
        return key

    def _repeated(
        self, books: Books, record: Recorded, command: Heading, digest: str, seen: Seen | None
    ) -> CommandDuplicated | CommandRefused | None:
        if seen is not None and seen.digest == short_digest(digest):
            return CommandDuplicated(command_id=command.id, first=_at(record, seen.offset), reason="same-command")
        # before the body is held against it: a policy that repeats itself may know more by now and say it otherwise
        mark = books.below_mark(command)
        if mark is not None:
            # below the mark only the newest command's place is still known
            same = command.source is not None and command.source.offset == mark.source
            first = _at(record, mark.offset) if same else None
            return CommandDuplicated(command_id=command.id, first=first, reason="below-high-water")
        if seen is not None:
            return CommandRefused(
                command_id=command.id,
                command_type=command.type,
                code=KEY_REUSED,
                detail="this idempotency key was used before with another body; use a new key for a new request",
            )
        return None

    def _answer(
        self,
        state: PartitionState[S],
        record: Recorded,
        command: Heading | None,
        digest: str | None,
        now: int,
        emits: Sequence[Emit],
        refused: str | None,
    ) -> Judged[S]:
        out, events = self._events_of(record, command, digest, now, emits)
        largest = max(one.size for one in out) if len(out) > 1 else out[0].size
        if largest > self._max_event and command is not None:
            detail = f"the answer would have {largest} bytes in one event and at most {self._max_event} fit; ask for less at once"
            refusal = CommandRefused(command_id=command.id, command_type=command.type, code=OVERSIZED, detail=detail)
            refused = OVERSIZED
            out, events = self._events_of(record, command, digest, now, [Emit(refusal)])
        for event, written in zip(events, out, strict=True):
            if written.topic == self._events:
                state = self.evolve(state, event, record)
        return Judged(out, state, events[0].type, refused)

    def _events_of(
        self, record: Recorded, command: Heading | None, digest: str | None, now: int, emits: Sequence[Emit]
    ) -> tuple[tuple[OutRecord, ...], list[TypedEnvelope]]:
        time = EPOCH + timedelta(milliseconds=now)
        headers = (*CONTENT_TYPE, *self._trace(record), ("inbox-offset", str(record.offset).encode()))
        own_key = record.raw_key if len(record.raw_key or b"") <= LONGEST_KEY else None
        principal = _principal(command)
        out, events = [], []
        for index, emit in enumerate(emits):
            own = emit.topic in (None, self._events)
            identity = event_id(record.topic, record.partition, record.offset, index)
            # every part of both was validated when it was made
            cause = trusted(
                Cause,
                {
                    "topic": record.topic,
                    "partition": record.partition,
                    "offset": record.offset,
                    "index": index,
                    "count": len(emits),
                    "command_id": command.id if command else None,
                    "command_type": command.type if command else None,
                    "command_digest": digest,
                    "source": command.source if command else None,
                },
            )
            payload = emit.payload
            event = trusted(
                typed_class(type(payload)),
                {
                    "id": identity,
                    "type": payload.TYPE,
                    "version": payload.VERSION,
                    "tenant": emit.tenant or (command.tenant if command else PLATFORM),
                    "time": time,
                    "correlation": emit.correlation or (command.correlation if command else identity),
                    "principal": principal,
                    "cause": cause,
                    "source": None,
                    "assertion": None,
                    "data": payload,
                },
            )
            events.append(event)
            key = own_key if emit.key is None else emit.key.encode()
            out.append(
                OutRecord(
                    key=key,
                    value=event.to_bytes(),
                    headers=(("type", event.type.encode()), *headers),
                    partition=record.partition if own else None,
                    topic=self._events if own else emit.topic,
                )
            )
        return tuple(out), events


def _at(record: Recorded, offset: int) -> Position:
    return Position(topic=record.topic, partition=record.partition, offset=offset)


def _principal(command: Heading | None) -> str | None:
    if command is None:
        return None
    return command.assertion.principal if command.assertion else command.principal
