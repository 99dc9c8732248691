"""Three brokers, one killed or stopped under load: nothing acknowledged is lost, each command has one outcome, all go on by themselves.

Handler, projector, deriver and appender work in this process; the judge is the log read under read_committed, and the rows.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from secrets import token_hex

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from barecount_contracts import Position
from barecount_eventlog import Appender, AppendFailed, Deriver, KafkaSettings, read_all
from barecount_local.kafka import KafkaServer
from barecount_readmodel import Database, Projector, Token

from tests.chaos.eventlog.owner_process import echo
from tests.chaos.eventlog.test_the_broker_dies import append_surely
from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, drained, eventually, handler_of
from tests.integration.readmodel.kit import NumbersView, fresh_service, service_database
from tests.support.cluster import NODES, Cluster, cluster
from tests.support.servers import Postgres, in_containers

# three brokers, and each fault twice: some 40 CPU-seconds, so CI leaves it to `make chaos`
SEEDS = range(int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1")))
AFTER = 60  # commands that are acknowledged after each fault, before the next one
SECONDS = 90

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(400),
    pytest.mark.skipif(len(SEEDS) < 2, reason="40 CPU-seconds: run by make chaos; one broker dies in eventlog/test_the_broker_dies.py"),
    pytest.mark.skipif(in_containers(), reason="the quorum is made of embedded nodes"),
]


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@dataclass
class Sent:
    """Who writes commands, one after the other, each until it is acknowledged."""

    acknowledged: dict[int, Position] = field(default_factory=dict)
    stop: bool = False

    async def run(self, topics: Topics) -> None:
        number = 0
        while not self.stop:
            self.acknowledged[number] = await append_surely(topics.appender, topics.inbox, number)
            number += 1

    async def more(self) -> None:
        goal = len(self.acknowledged) + AFTER
        await eventually(lambda: len(self.acknowledged) >= goal, SECONDS)


async def replicated(kafka: KafkaSettings, *names: str) -> list[str]:
    admin = AIOKafkaAdminClient(**kafka.client())
    await admin.start()
    try:
        unique = [f"{name}.{token_hex(4)}" for name in names]
        configs = {"message.timestamp.type": "LogAppendTime"}
        await admin.create_topics([NewTopic(name, 1, NODES, topic_configs=configs) for name in unique])
        return unique
    finally:
        await admin.close()


async def all_in_sync(running: Cluster) -> None:
    """Every partition of every topic, Kafka's own too, on all three: only then may the next one die."""
    from confluent_kafka.admin import AdminClient

    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "admin"}
    admin = AdminClient(
        {"bootstrap.servers": running.kafka.bootstrap, **login, "sasl.password": running.kafka.password or "", "log_level": 0}
    )

    def complete() -> bool:
        topics = admin.list_topics(timeout=20).topics
        return all(len(part.isrs) == NODES for topic in topics.values() for part in topic.partitions.values())

    async with asyncio.timeout(SECONDS):
        while not await asyncio.to_thread(complete):  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # nobody tells


@asynccontextmanager
async def working(running: Cluster, postgres: Postgres) -> AsyncIterator[tuple[Topics, Sent]]:
    """All four parts under load; after the block they are drained and judged."""
    inbox, events, output = await replicated(running.kafka, "inbox", "events", "output")
    topics = Topics(running.kafka, inbox, events, Appender(running.kafka, "test"))
    service = fresh_service()
    database = await Database.open(await service_database(postgres, service=service), service=service)
    handler = handler_of(topics, max_batch=5)
    projector = Projector(kafka=running.kafka, database=database, service=service, views=[NumbersView(events)])
    deriver = Deriver(kafka=running.kafka, service="test", name=output, sources=[events], output=output, output_partition=0, transform=echo)
    await topics.appender.start()
    await asyncio.gather(handler.start(), projector.start(), deriver.start())
    sent = Sent()
    load = asyncio.create_task(sent.run(topics))
    try:
        await sent.more()
        yield topics, sent
        sent.stop = True
        await load
        await drained(handler, topics, SECONDS)
        await projector.wait(Token.of(max(sent.acknowledged.values(), key=lambda at: at.offset)), SECONDS)
        await eventually(lambda: sum(deriver.lag().values()) == 0 and deriver.ready, SECONDS)
        await judged(topics, sent, output)
        async with database.query("acme") as conn:
            assert await conn.fetchval("SELECT events FROM tallies") == len(sent.acknowledged), "the rows, each command once"
        assert handler.ready
        assert projector.ready
    finally:
        load.cancel()
        for part in (projector, deriver, handler, topics.appender):
            await part.stop()
        await database.close()


async def judged(topics: Topics, sent: Sent, output: str) -> None:
    outcomes = await topics.outcomes()
    at = [event.envelope.cause.offset for event in outcomes if event.envelope.cause]
    assert at == list(range(len(at))), "one outcome an inbox offset, in its order"
    lost = [number for number, position in sent.acknowledged.items() if position.offset >= len(at)]
    assert not lost, f"acknowledged, and without an outcome: {lost}"
    added = [event for event in outcomes if event.envelope.type == "NumberAdded"]
    assert len(added) == len(sent.acknowledged), "each command once, however often it was sent"
    copies = [r.value.decode() async for b in read_all(topics.kafka, output) for r in b.records if r.key == "copy"]
    assert sorted(copies) == sorted(f"{topics.events}/0/{event.offset}" for event in await topics.all_events())


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_lost_when_a_broker_of_three_dies_and_when_the_coordinator_moves(
    three: Cluster, postgres: Postgres, seed: int
) -> None:
    dice = random.Random(f"three brokers {seed}")
    async with working(three, postgres) as (topics, sent):
        # the owner's three transactional ids may have three coordinators; its next transaction is one of theirs
        coordinator = await three.coordinator_of(f"test.{topics.inbox}.0.{dice.randrange(3)}")
        victims: list[tuple[KafkaServer, bool]] = [(three.nodes[coordinator], True), (three.nodes[coordinator % NODES + 1], False)]
        for victim, suddenly in victims:
            await asyncio.sleep(dice.uniform(0.0, 0.5))  # the seed's moment: a commit is under way at nearly every one
            await asyncio.to_thread(victim.kill if suddenly else victim.stop)
            # two are enough to go on, before the third is back
            await sent.more()
            await asyncio.to_thread(victim.start)
            await all_in_sync(three)
        await sent.more()


async def test_what_is_acknowledged_stands_on_more_than_one_broker(three: Cluster) -> None:
    """The followers are frozen, so that the leader alone has what comes; then it dies, and one of them leads."""
    (inbox,) = await replicated(three.kafka, "inbox")
    appender = Appender(three.kafka, "test")
    await appender.start()
    acknowledged = {0: await append_surely(appender, inbox, 0)}
    await all_in_sync(three)
    leader = three.nodes[await three.leader_of(inbox)]
    followers = [node for node in three.nodes.values() if node is not leader]
    for node in followers:
        send(node, signal.SIGSTOP)
    try:
        for number in range(1, 4):
            with suppress(AppendFailed):
                acknowledged[number] = await appender.append(inbox, "acme", add(1, key=f"n{number}"), timeout=1)
    finally:
        await asyncio.to_thread(leader.kill)
        for node in followers:
            send(node, signal.SIGCONT)
    try:
        acknowledged[4] = await append_surely(appender, inbox, 4)
        log = {record.offset: record.envelope.id async for batch in read_all(three.kafka, inbox) for record in batch.records}
        lost = [number for number, position in acknowledged.items() if log.get(position.offset) != add(1, key=f"n{number}").id]
        assert not lost, f"acknowledged, and not where it was said to be: {lost} of {acknowledged}"
    finally:
        await appender.stop()
        await asyncio.to_thread(leader.start)
        await all_in_sync(three)


def send(node: KafkaServer, number: signal.Signals) -> None:
    assert node.child is not None
    os.kill(node.child.pid, number)
