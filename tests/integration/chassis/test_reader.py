"""Policies and tails against a real broker: at least once, in order, whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from barecount_chassis import PermanentError, Policy, ReaderError, Record, tail_partition, telemetry
from confluent_kafka.admin import AdminClient, NewTopic
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from tests.support.servers import Kafka, kafka_server

pytestmark = pytest.mark.integration
Values = dict[str, str | None]


@pytest.fixture(scope="module", autouse=True)
def traced() -> None:
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())


def values(kafka: Kafka) -> Values:
    """What Settings.kafka() gives."""
    told = kafka.settings()
    return {"bootstrap": told["bootstrap_servers"], "username": told["sasl_plain_username"], "password": told["sasl_plain_password"]}


def new_topic(kafka: Kafka, partitions: int = 1) -> str:
    """A throw-away topic. The admin client is held until its answer is there."""
    admin = AdminClient({**kafka.librdkafka(), "log_level": 0})
    unique = f"reader.{secrets.token_hex(4)}"
    admin.create_topics([NewTopic(unique, partitions, 1)], request_timeout=30)[unique].result(30)
    return unique


async def until(check: Callable[[], object], seconds: float) -> None:
    """Looks again and again: lag and readiness are asked for, as a health probe asks, and tell nobody by themselves."""
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def write(kafka: Kafka, topic: str, count: int, *, first: int = 0, partitions: int = 1) -> None:
    async with AIOKafkaProducer(**kafka.settings(), acks="all") as producer:
        sent = [await producer.send(topic, str(n).encode(), partition=n % partitions) for n in range(first, first + count)]
        await asyncio.gather(*sent)


class Collected:
    """A handler that keeps what it is given, and an event for `at least n`."""

    def __init__(self, before: Callable[[Record], Awaitable[None]] | None = None) -> None:
        self.records: list[Record] = []
        self._before, self._changed = before, asyncio.Condition()

    async def __call__(self, record: Record) -> None:
        if self._before:
            await self._before(record)
        async with self._changed:
            self.records.append(record)
            self._changed.notify_all()

    async def at_least(self, count: int, seconds: float = 20) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: len(self.records) >= count), seconds)

    @property
    def numbers(self) -> list[int]:
        return [int(record.value) for record in self.records]


def policy(kafka: Kafka, handle: Callable[[Record], Awaitable[None]], *topics: str, name: str | None = None, **other: object) -> Policy:
    return Policy(
        values(kafka),
        service="test",
        name=name or secrets.token_hex(4),
        topics=topics,
        handle=handle,
        **other,  # type: ignore[arg-type]
    )


@contextlib.asynccontextmanager
async def running(one: Policy):  # type: ignore[no-untyped-def]
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def committed(kafka: Kafka, group: str, topic: str, partition: int = 0) -> int | None:
    async with AIOKafkaConsumer(**kafka.settings(), group_id=group, enable_auto_commit=False) as consumer:
        found: int | None = await consumer.committed(TopicPartition(topic, partition))
        return found


async def test_a_policy_does_not_start_on_a_topic_that_is_not_there_and_creates_none(kafka: Kafka) -> None:
    name = f"missing.{secrets.token_hex(4)}"
    for _ in range(2):
        with pytest.raises(ReaderError, match=name):
            await policy(kafka, Collected(), name).start()


async def test_a_failing_record_is_tried_again_and_nothing_behind_it_goes_first(kafka: Kafka) -> None:
    topic = new_topic(kafka)
    await write(kafka, topic, 5)
    failures = 0

    async def stumble(record: Record) -> None:
        nonlocal failures
        if record.value == b"2" and failures < 3:
            failures += 1
            raise ConnectionError("not now")

    seen = Collected(stumble)
    async with running(policy(kafka, seen, topic)):
        await seen.at_least(5)
    assert seen.numbers == [0, 1, 2, 3, 4]
    assert failures == 3


async def test_a_permanent_error_parks_the_record_after_its_attempts(kafka: Kafka) -> None:
    topic = new_topic(kafka)
    await write(kafka, topic, 3)
    tries, parked = 0, []

    async def broken(record: Record) -> None:
        nonlocal tries
        if record.value == b"1":
            tries += 1
            raise PermanentError("unreadable")

    async def park(record: Record, error: Exception) -> None:
        if len(parked) < 1:
            parked.append("failed")
            raise ConnectionError("parking failed once")
        parked.append(f"{record.value.decode()}: {error}")

    seen = Collected(broken)
    async with running(policy(kafka, seen, topic, park=park, attempts=2)) as one:
        await seen.at_least(2)
        group = one.group
    assert (seen.numbers, tries, parked) == ([0, 2], 2, ["failed", "1: unreadable"])
    assert await committed(kafka, group, topic) == 3


async def test_without_a_place_to_park_the_policy_stands_and_says_so(kafka: Kafka) -> None:
    topic = new_topic(kafka)
    await write(kafka, topic, 3)
    met = asyncio.Event()

    async def broken(record: Record) -> None:
        if record.value == b"1":
            met.set()
            raise PermanentError("unreadable")

    seen = Collected(broken)
    async with running(policy(kafka, seen, topic, attempts=1)) as one:
        await asyncio.wait_for(met.wait(), 20)
        await asyncio.sleep(0.2)
        assert isinstance(one.failed, PermanentError)
        assert not one.ready
        group = one.group
    assert seen.numbers == [0]
    assert await committed(kafka, group, topic) in (None, 1), "what failed must come again after a restart"


async def test_binary_headers_missing_values_and_foreign_keys_reach_the_handler_as_they_are(kafka: Kafka) -> None:
    topic = new_topic(kafka)
    async with AIOKafkaProducer(**kafka.settings(), acks="all") as producer:
        await producer.send_and_wait(topic, b"0", key=b"\xff\xfe", headers=[("blob", b"\xff\x00\xfe"), ("blob", b"\x80"), ("none", None)])
        await producer.send_and_wait(topic, None, key=b"k", headers=[("content-type", b"\xff"), ("traceparent", b"\xffjunk")])
        await producer.send_and_wait(
            topic, b"not json", headers=[("reply_to", b"elsewhere"), ("correlation_id", b"\xc3\x28"), ("baggage", b"\xff=;,")]
        )
    seen = Collected()
    async with running(policy(kafka, seen, topic)):
        await seen.at_least(3)
    assert [record.value for record in seen.records] == [b"0", b"", b"not json"]
    assert seen.records[0].headers == {"blob": b"\x80", "none": b""}
    assert seen.records[1].headers["traceparent"] == b"\xffjunk"
    assert [record.offset for record in seen.records] == [0, 1, 2]


async def test_a_policy_goes_on_where_it_committed(kafka: Kafka) -> None:
    topic = new_topic(kafka, partitions=3)
    await write(kafka, topic, 30, partitions=3)
    first, second = Collected(), Collected()
    async with running(policy(kafka, first, topic, name="continues")):
        await first.at_least(30)
    await write(kafka, topic, 3, first=30, partitions=3)
    began = time.monotonic()
    async with running(policy(kafka, second, topic, name="continues")):
        await second.at_least(3)
    assert sorted(second.numbers) == [30, 31, 32]
    assert time.monotonic() - began < 8
    for partition in range(3):
        ordered = [int(record.value) for record in first.records if record.partition == partition]
        assert ordered == sorted(ordered)


CHILD = """
import asyncio, sys
sys.path.insert(0, {root!r})
from barecount_chassis import Policy
async def main():
    out = open({out!r}, "a")
    async def handle(record):
        out.write(record.value.decode() + "\\n"); out.flush()
        await asyncio.sleep(0.002)
    one = Policy({kafka!r}, service="test", name={name!r}, topics=[{topic!r}], handle=handle)
    await one.start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_nothing_is_lost_when_the_process_is_killed_and_the_next_takes_over_at_once(kafka: Kafka, tmp_path: Path) -> None:
    topic, name, out = new_topic(kafka), secrets.token_hex(4), tmp_path / "seen"
    await write(kafka, topic, 1000)
    code = CHILD.format(root=str(Path.cwd()), out=str(out), kafka=values(kafka), name=name, topic=topic)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    await until(lambda: out.exists() and len(out.read_text().split()) >= 250, 30)
    child.kill()
    await child.wait()
    before = [int(line) for line in out.read_text().split()]
    after = Collected()
    began = time.monotonic()
    async with running(policy(kafka, after, topic, name=name)):
        await after.at_least(1)
        took_over = time.monotonic() - began
        while after.numbers[-1] != 999:
            await after.at_least(len(after.records) + 1)
    assert before == list(range(len(before)))
    assert after.numbers == list(range(after.numbers[0], 1000)), "in order, without a gap"
    assert 0 < after.numbers[0] <= len(before), "nothing is skipped, and not everything comes again"
    assert took_over < 5, f"take-over took {took_over:.1f} s: the dead member was waited for"


async def test_ready_means_that_all_that_was_there_is_handled_control_records_included(kafka: Kafka) -> None:
    topic = new_topic(kafka)
    async with AIOKafkaProducer(**kafka.settings(), transactional_id=secrets.token_hex(4)) as producer:
        for n in range(3):
            async with producer.transaction():
                await producer.send_and_wait(topic, str(n).encode())
    go = asyncio.Event()

    async def hold(record: Record) -> None:
        await go.wait()

    seen = Collected(hold)
    async with running(policy(kafka, seen, topic)) as one:
        await until(one.lag, 20)
        assert not one.ready
        go.set()
        await seen.at_least(3)
        await until(lambda: one.ready, 5)
        assert one.lag() == {(topic, 0): 0}
        group = one.group
    assert await committed(kafka, group, topic) == 5


async def test_an_empty_topic_is_caught_up(kafka: Kafka) -> None:
    async with running(policy(kafka, Collected(), new_topic(kafka, partitions=2))) as one:
        await until(lambda: one.ready, 10)


async def test_the_trace_of_a_record_goes_on_in_its_handler(kafka: Kafka) -> None:
    topic = new_topic(kafka)
    with telemetry.tracer().start_as_current_span("origin") as span:
        expected = format(span.get_span_context().trace_id, "032x")
        headers = list(telemetry.inject().items())
        async with AIOKafkaProducer(**kafka.settings()) as producer:
            await producer.send_and_wait(topic, b"0", headers=headers)
    found: list[str | None] = []

    async def look(record: Record) -> None:
        found.append(telemetry.trace_id())

    seen = Collected(look)
    async with running(policy(kafka, seen, topic)):
        await seen.at_least(1)
    assert found == [expected]


async def test_a_tail_begins_at_the_end_that_was_there_when_it_was_made(kafka: Kafka) -> None:
    topic = new_topic(kafka, partitions=2)
    await write(kafka, topic, 10, partitions=2)
    tail = await tail_partition(values(kafka), topic, 1, client_id="worker-1")
    assert tail.start == 5
    await write(kafka, topic, 4, first=10, partitions=2)
    async with asyncio.timeout(20):
        assert [int((await anext(tail)).value) for _ in range(2)] == [11, 13]
    waiting = asyncio.ensure_future(anext(tail, None))
    await asyncio.sleep(0.05)
    await tail.stop()
    assert await asyncio.wait_for(waiting, 5) is None


async def test_a_tail_can_begin_at_a_given_offset(kafka: Kafka) -> None:
    topic = new_topic(kafka)
    await write(kafka, topic, 5)
    tail = await tail_partition(values(kafka), topic, 0, client_id="worker-1", start=3)
    async with asyncio.timeout(20):
        assert [int((await anext(tail)).value) for _ in range(2)] == [3, 4]
    await tail.stop()


async def test_a_policy_and_a_tail_live_through_a_crash_of_the_broker() -> None:
    with kafka_server() as broker:
        topic = new_topic(broker)
        await write(broker, topic, 3)
        seen = Collected()
        async with running(policy(broker, seen, topic)):
            await seen.at_least(3)
            tail = await tail_partition(values(broker), topic, 0, client_id="worker-1")
            following = asyncio.ensure_future(anext(tail))
            broker.kill()
            await asyncio.sleep(1)
            await asyncio.to_thread(broker.start)
            await write(broker, topic, 3, first=3)
            await seen.at_least(6, 60)
            assert (await asyncio.wait_for(following, 60)).value == b"3"
            await tail.stop()
        assert sorted(set(seen.numbers)) == [0, 1, 2, 3, 4, 5]
        assert seen.numbers[-3:] == [3, 4, 5]


@pytest.fixture(params=[asyncio.CancelledError, KafkaConnectionError], ids=lambda kind: kind.__name__)
def unclosable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called: from now on every client is closed and then raises, as aiokafka's own does when its broker died."""

    def begin() -> None:
        for client, name in ((AIOKafkaConsumer, "stop"), (AIOKafkaClient, "close")):
            closing = getattr(client, name)

            async def raising(self: Any, closing: Any = closing) -> None:
                await closing(self)
                raise request.param

            monkeypatch.setattr(client, name, raising)

    return begin


async def test_who_stops_readers_whose_clients_cannot_be_closed_goes_on(kafka: Kafka, unclosable: Callable[[], None]) -> None:
    topic, seen = new_topic(kafka), Collected()
    policy = Policy(values(kafka), service="command", name=topic, topics=[topic], handle=seen)
    await policy.start()
    tail = await tail_partition(values(kafka), topic, 0, client_id="worker-1")
    unclosable()
    another = await tail_partition(values(kafka), topic, 0, client_id="worker-2")
    with pytest.raises(ReaderError, match="no topic nowhere"):
        await tail_partition(values(kafka), "nowhere", 0, client_id="worker-3")
    for reader in (tail, another, policy):
        await reader.stop()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
