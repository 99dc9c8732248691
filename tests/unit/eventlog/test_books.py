"""What a handler remembers, without any broker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from barecount_contracts import Cause, CommandRefused, Envelope, Position, RecordRejected
from barecount_eventlog.books import BUCKETS, Books, short_digest
from hypothesis import example, given
from hypothesis import strategies as st

START = datetime(2025, 10, 4, tzinfo=UTC)
DAY = timedelta(days=1)


def event(
    offset: int, at: datetime, command: UUID | None = None, source: int | None = None, digest: str = "sha256:" + "ab" * 32
) -> Envelope:
    return Envelope(
        id=uuid4(),
        type="CommandRefused",
        tenant="acme",
        time=at,
        correlation=uuid4(),
        cause=Cause(
            topic="inbox",
            partition=0,
            offset=offset,
            command_id=command,
            command_type="X",
            command_digest=digest,
            source=Position(topic="other", partition=1, offset=source) if source is not None else None,
        ),
        data=CommandRefused(command_id=command or uuid4(), command_type="X", code="not-found", detail="").to_data(),
    )


def command(source: int, identity: UUID) -> Envelope:
    at = Position(topic="other", partition=1, offset=source)
    return Envelope(id=identity, type="X", tenant="acme", time=START, correlation=identity, source=at, data={})


def fed(books: Books, *events: Envelope) -> Books:
    for one in events:
        books = books.record(one, keeps_id=True, keeps_mark=True)
    return books


def test_an_id_is_forgotten_exactly_at_the_end_of_its_window() -> None:
    identity = uuid4()
    books = fed(Books.empty(7 * DAY), event(3, START, identity))
    last = books.tell(START + 7 * DAY - timedelta(milliseconds=1))
    assert books.first(identity, last) is not None
    assert books.first(identity, last + 1) is None


def test_memory_is_bounded_by_the_window() -> None:
    books = Books.empty(DAY)
    for hour in range(24 * 20):
        books = fed(books, event(hour, START + timedelta(hours=hour), uuid4()))
    assert sum(len(ids) for _, ids in books.buckets) <= 24 + 24 // BUCKETS + 1
    assert len(books.buckets) <= BUCKETS + 1


def test_the_clock_never_goes_back() -> None:
    books = fed(Books.empty(DAY), event(0, START), event(1, START - DAY))
    assert books.now == START
    assert books.tell(START - DAY) == books.clock


def test_a_source_offset_below_the_mark_is_known_and_a_new_id_at_the_mark_is_news() -> None:
    seen = uuid4()
    books = fed(Books.empty(DAY), event(0, START, seen, source=10))
    assert books.below_mark(command(9, uuid4())) is not None
    assert books.below_mark(command(10, seen)) is not None
    assert books.below_mark(command(10, uuid4())) is None
    assert books.below_mark(command(11, uuid4())) is None


def test_marks_of_two_policies_over_one_log_do_not_hide_each_other() -> None:
    books = fed(Books.empty(DAY), event(0, START, uuid4(), source=10))
    assert books.below_mark(command(5, uuid4()).model_copy(update={"type": "Y"})) is None


def test_a_digest_is_told_apart_by_its_first_half() -> None:
    assert short_digest("sha256:" + "ab" * 32) == bytes.fromhex("ab" * 16)
    assert short_digest(None) == bytes(16)


@given(st.lists(st.tuples(st.integers(0, 30 * 24 * 3600), st.integers(0, 9), st.none() | st.integers(0, 20)), max_size=60))
def test_a_dump_reads_back_as_the_same_books(rows: list[tuple[int, int, int | None]]) -> None:
    books = Books.empty(7 * DAY)
    for offset, (seconds, identity, source) in enumerate(rows):
        books = fed(books, event(offset, START + timedelta(seconds=seconds), UUID(int=identity), source))
    again = Books.load(books.dump())
    assert again.dump() == books.dump()
    assert again == books


# most are what a long log is full of: an id for the newest bucket
PLAIN = st.tuples(st.just("RunRequested"), st.integers(-3, 3), st.integers(0, 30), st.none(), st.just(True), st.booleans())
ANY = st.tuples(
    st.sampled_from(["CommandRefused", "RunRequested", "RecordRejected"]),
    st.integers(-5, 40),
    st.none() | st.integers(0, 30),
    st.none() | st.integers(0, 20),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(st.tuples(st.integers(0, 50), PLAIN | PLAIN | ANY), max_size=40), st.sampled_from([8, 47, 80, 1_000]), st.integers(0, 40))
# in a window that its buckets do not divide, the oldest goes while the newest stays
@example([(0, ("X", 0, 1, None, True, True)), (1, ("X", 50, 2, None, True, True)), (2, ("X", 2, 3, None, True, True))], 47, 0)
def test_outcomes_recorded_together_are_as_one_after_the_other(rows: list[Any], window: int, cut: int) -> None:
    outcomes, clock = [], 0
    for offset, (kind, step, identity, source, keeps_id, keeps_mark) in rows:
        clock += step
        told = event(offset, START + timedelta(milliseconds=clock), None if identity is None else UUID(int=identity), source)
        data = refusal(f"code-{offset % 2}") if kind == "RecordRejected" else told.data
        outcomes.append((told.model_copy(update={"type": kind, "data": data}), keeps_id, keeps_mark))
    each = Books.empty(timedelta(milliseconds=window))
    for told, keeps_id, keeps_mark in outcomes:
        each = each.record(told, keeps_id=keeps_id, keeps_mark=keeps_mark)
    together = Books.empty(timedelta(milliseconds=window)).record_all(outcomes[:cut]).record_all(outcomes[cut:])
    assert together == each
    assert together.dump() == each.dump()


def refusal(code: str) -> dict[str, Any]:
    return RecordRejected(code=code, detail="as told", size=1, digest="sha256:00").to_data()


def test_rejections_are_counted_by_code_and_survive_a_snapshot() -> None:
    rejected = event(0, START).model_copy(update={"type": "RecordRejected", "data": refusal("malformed-record")})
    books = fed(Books.empty(DAY), rejected, event(1, START), rejected.model_copy(update={"data": refusal("unknown-type")}), rejected)
    assert dict(books.rejected) == {"malformed-record": 2, "unknown-type": 1}
    assert Books.load(books.dump()).rejected == books.rejected
