"""What a handler refuses, repeats and restores, judged by the log alone."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from barecount_contracts import Position, murmur2
from barecount_eventlog import CodeFault, EventlogError, Handler, Recorded, end_offsets

from tests.integration.eventlog.counter import AddNumber, Counter, add, envelope_of, gate
from tests.integration.eventlog.kit import Topics, create_topics, drained, eventually, handler_of
from tests.support.servers import Kafka

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def outcome_of(topics: Topics, at: Position) -> Recorded:
    """The one outcome of an inbox offset; a second one or none fails the test."""
    (found,) = [
        e for e in await topics.outcomes() if e.envelope.cause and (e.envelope.cause.offset, e.partition) == (at.offset, at.partition)
    ]
    return found


async def run(topics: Topics, **more: Any) -> Handler[Any]:
    handler = handler_of(topics, **more)
    await handler.start()
    await drained(handler, topics)
    await handler.stop()
    return handler


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"\x00\xff\xfe not json", "malformed-record"),
        (b"{}", "malformed-record"),
        (None, "malformed-record"),
        (b"", "malformed-record"),
        (b"[" * 1000, "malformed-record"),
        (envelope_of(AddNumber(number=1), uuid4(), "acme").model_copy(update={"type": "NoSuchType"}).to_bytes(), "unknown-type"),
        (envelope_of(AddNumber(number=1), uuid4(), "acme").model_copy(update={"data": {"number": "x"}}).to_bytes(), "invalid-payload"),
        (envelope_of(AddNumber(number=1), uuid4(), "acme").model_copy(update={"principal": None}).to_bytes(), "unsigned-command"),
        (add(1, pad=0).to_bytes().ljust(2000), "oversized-record"),
    ],
)
async def test_a_record_that_is_no_command_is_rejected_and_the_next_one_decided(topics: Topics, value: bytes | None, code: str) -> None:
    binary_headers = [("traceparent", b"\xff\xfe"), ("", b""), ("x", b"\x00")]
    poison = await topics.appender.append_bytes(topics.inbox, b"acme", value, binary_headers)
    good = await topics.appender.append(topics.inbox, "acme", add(3))
    handler = await run(topics, max_record_bytes=1500)
    rejected = await outcome_of(topics, poison)
    assert (rejected.envelope.type, rejected.whole().data["code"]) == ("RecordRejected", code)
    assert rejected.whole().data["size"] == len(value or b"")
    # this room's gate vouches for whoever names a principal: then the sender finds the rejection by the command's id
    vouched = code in ("unknown-type", "invalid-payload")
    assert rejected.envelope.tenant == ("acme" if vouched else "platform")
    assert rejected.envelope.cause is not None
    assert (rejected.envelope.cause.command_id is not None) == vouched, "a record that nobody vouches for must not name a command"
    assert (await outcome_of(topics, good)).envelope.type == "NumberAdded"
    assert handler.state(0).totals["acme"] == 3


@pytest.mark.parametrize("key", [None, b"\xff\xfe\x00"])
async def test_a_record_without_a_readable_key_is_rejected(topics: Topics, key: bytes | None) -> None:
    at = await topics.appender.append_bytes(topics.inbox, key, add(1).to_bytes(), partition=0)
    await run(topics)
    assert (await outcome_of(topics, at)).envelope.type == "RecordRejected"


async def test_a_command_in_another_partition_than_its_keys_is_refused_with_the_remedy(topics: Topics) -> None:
    topics.inbox, topics.events = await create_topics(topics.kafka, "inbox", "events", partitions=3)
    wrong = (murmur2(b"acme") + 1) % 3
    at = await topics.appender.append(topics.inbox, "acme", add(1), partition=wrong)
    handler = await run(topics)
    found = await outcome_of(topics, at)
    assert found.partition == wrong
    assert found.whole().data["code"] == "wrong-partition"
    assert "murmur2_random" in found.whole().data["detail"]
    assert not handler.state(wrong).totals


async def test_the_same_command_again_is_named_a_duplicate_of_the_first(topics: Topics) -> None:
    command = add(5, key="k")
    first = await topics.appender.append(topics.inbox, "acme", command)
    later = command.model_copy(update={"time": command.time.replace(year=2021)})
    second = await topics.appender.append(topics.inbox, "acme", later)
    handler = await run(topics)
    duplicate = (await outcome_of(topics, second)).whole()
    assert (duplicate.type, duplicate.data["reason"]) == ("CommandDuplicated", "same-command")
    assert Position.model_validate(duplicate.data["first"]) == first
    assert handler.state(0).totals["acme"] == 5
    third = await topics.appender.append(topics.inbox, "acme", command)
    await run(topics)
    assert (await outcome_of(topics, third)).envelope.type == "CommandDuplicated", "a new owner knows the ids from the log"


async def test_the_same_key_with_another_body_is_refused(topics: Topics) -> None:
    await topics.appender.append(topics.inbox, "acme", add(5, key="k"))
    reused = await topics.appender.append(topics.inbox, "acme", add(6, key="k"))
    again = await topics.appender.append(topics.inbox, "acme", add(5, key="k"))
    await run(topics)
    refused = (await outcome_of(topics, reused)).whole()
    assert (refused.type, refused.data["code"]) == ("CommandRefused", "idempotency-key-reused")
    assert (await outcome_of(topics, again)).whole().data["first"]["offset"] == 0, "the refusal did not take the key over"


async def test_a_policys_repetition_is_ignored_and_its_fan_out_is_not(topics: Topics) -> None:
    def derived(number: int, offset: int) -> Any:
        return add(number, key=f"p/{number}/{offset}", source=Position(topic="other.events", partition=2, offset=offset))

    sent = [derived(1, 10), derived(2, 10), derived(4, 11), derived(1, 10), derived(8, 9), derived(16, 12)]
    places = [await topics.appender.append(topics.inbox, "acme", command) for command in sent]
    handler = await run(topics)
    kinds = [(await outcome_of(topics, at)).whole() for at in places]
    assert [kind.type for kind in kinds] == [
        "NumberAdded",
        "NumberAdded",
        "NumberAdded",
        "CommandDuplicated",
        "CommandDuplicated",
        "NumberAdded",
    ]
    assert [kind.data["reason"] for kind in kinds[3:5]] == ["same-command", "below-high-water"]
    assert handler.state(0).totals["acme"] == 1 + 2 + 4 + 16
    old = await topics.appender.append(topics.inbox, "acme", derived(32, 5))
    await run(topics)
    assert (await outcome_of(topics, old)).envelope.type == "CommandDuplicated", "the mark is restored from the log"


async def test_every_inbox_offset_gets_exactly_one_outcome_that_names_it(topics: Topics) -> None:
    handler = handler_of(topics)
    await handler.start()
    await asyncio.gather(*(topics.appender.append(topics.inbox, "acme", add(n, emits=1 + n % 3)) for n in range(50)))
    await drained(handler, topics)
    await handler.stop()
    outcomes = await topics.outcomes()
    assert [e.envelope.cause.offset for e in outcomes if e.envelope.cause] == list(range(50))
    assert handler.state(0).totals["acme"] == sum(range(50)) - 13  # 13 is refused
    for event in await topics.all_events():
        cause = event.envelope.cause
        assert cause is not None
        assert event.headers["inbox-offset"] == str(cause.offset).encode()
        assert event.headers["type"] == event.envelope.type.encode()
    by_offset = {e.envelope.cause.offset: e.envelope.cause.count for e in outcomes if e.envelope.cause}
    assert len(await topics.all_events()) == sum(by_offset.values())
    assert handler.lag() == {0: 0}


async def test_the_trace_of_a_command_goes_on_in_its_events(topics: Topics) -> None:
    headers = [("traceparent", TRACE.encode()), ("tracestate", b"a=b")]
    at = await topics.appender.append_bytes(topics.inbox, b"acme", add(1).to_bytes(), headers)
    await run(topics)
    assert (await outcome_of(topics, at)).headers["traceparent"].decode().split("-")[1] == TRACE.split("-")[1]


async def test_events_of_a_stopped_or_older_clock_never_go_back_in_time(topics: Topics) -> None:
    producer = AIOKafkaProducer(**topics.kafka.client(), enable_idempotence=True)
    await producer.start()
    for timestamp in (4_000_000_000_000, 1_000):
        # the sender's clock is a lie in both directions; the topic keeps the broker's
        await producer.send_and_wait(topics.inbox, add(1).to_bytes(), key=b"acme", partition=0, timestamp_ms=timestamp)
    await producer.stop()
    await run(topics)
    times = [e.envelope.time for e in await topics.outcomes()]
    assert times == sorted(times)
    assert times[-1].year < 2090


async def test_an_inbox_under_senders_clocks_is_not_handled_at_all(topics: Topics) -> None:
    (topics.inbox,) = await create_topics(topics.kafka, "inbox", message_timestamp_type="CreateTime")
    await topics.appender.append(topics.inbox, "acme", add(1))
    handler = handler_of(topics)
    await handler.start()
    await eventually(lambda: not handler.ready)
    await handler.stop()
    assert await topics.outcomes() == []


async def test_a_bug_in_decide_stops_the_partition_at_the_record_and_loses_nothing(topics: Topics) -> None:
    places = [await topics.appender.append(topics.inbox, "acme", add(n)) for n in (1, 2, 666, 4)]
    handler = handler_of(topics)
    await handler.start()
    await eventually(lambda: handler.failed is not None)
    assert isinstance(handler.failed, CodeFault)
    assert handler.failed.position == places[2]
    assert not handler.ready
    await handler.stop()
    assert [e.envelope.cause.offset for e in await topics.outcomes() if e.envelope.cause] == [0, 1]

    class Corrected(Counter):
        def decide(self, state: Any, inbound: Any) -> Any:
            if inbound.payload == AddNumber(number=666):
                return super().decide(
                    state, type(inbound)(inbound.command, AddNumber(number=13), inbound.position, inbound.key, inbound.now)
                )
            return super().decide(state, inbound)

    corrected = Handler(kafka=topics.kafka, service="test", inbox=topics.inbox, events=topics.events, decider=Corrected(), gate=gate)
    await corrected.start()
    await drained(corrected, topics)
    await corrected.stop()
    assert [e.envelope.cause.offset for e in await topics.outcomes() if e.envelope.cause] == [0, 1, 2, 3]
    assert corrected.state(0).totals["acme"] == 7


async def test_an_answer_too_large_for_one_event_is_refused_and_the_partition_goes_on(topics: Topics) -> None:
    at = await topics.appender.append(topics.inbox, "acme", add(1, pad=50_000))
    good = await topics.appender.append(topics.inbox, "acme", add(2))
    handler = await run(topics, max_event_bytes=10_000)
    assert (await outcome_of(topics, at)).whole().data["code"] == "oversized-record"
    assert (await outcome_of(topics, good)).envelope.type == "NumberAdded"
    assert handler.state(0).totals["acme"] == 2


async def test_an_inbox_and_events_of_different_partitions_do_not_start(kafka: Kafka, topics: Topics) -> None:
    (topics.events,) = await create_topics(topics.kafka, "events", partitions=2)
    with pytest.raises(EventlogError, match=r"has 1 partitions and .* has 2"):
        await handler_of(topics).start()


async def test_records_of_an_aborted_publisher_are_not_commands(topics: Topics) -> None:
    """An external publisher may use transactions: its markers and aborted records have no outcome, and the lag still reaches zero."""
    producer = AIOKafkaProducer(**topics.kafka.client(), transactional_id=f"outside.{uuid4()}")
    await producer.start()
    for end in (producer.abort_transaction, producer.commit_transaction):
        await producer.begin_transaction()
        await (await producer.send(topics.inbox, add(1).to_bytes(), key=b"acme", partition=0))
        await end()
    await producer.stop()
    handler = handler_of(topics)
    await handler.start()
    await eventually(lambda: handler.lag() == {0: 0} and bool(handler.state(0).totals))
    assert handler.state(0).totals["acme"] == 1
    await handler.stop()
    again = handler_of(topics)
    await again.start()
    assert again.ready, "committed positions beyond the last outcome are markers here, not missing events"
    await again.stop()
    assert await end_offsets(topics.kafka, topics.inbox) == {0: 4}
    assert len(await topics.outcomes()) == 1
