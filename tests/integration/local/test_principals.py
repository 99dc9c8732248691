"""The broker itself refuses a service that writes or reads what the catalogue does not give it."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.protocol.fetch import FetchRequest
from barecount_contracts import catalogue
from barecount_local.passwords import PRINCIPALS, PUBLISHER

from tests.support.servers import Kafka

pytestmark = pytest.mark.integration

SERVICES = [name for name in PRINCIPALS if name != "admin"]


@pytest.mark.parametrize("service", SERVICES)
async def test_the_broker_refuses_every_topic_that_a_service_may_not_write(furnished_kafka: Kafka, service: str) -> None:
    forbidden = [topic.name for topic in catalogue().topics.values() if service not in topic.writers]
    assert forbidden, f"{service} may write everything: this test would prove nothing"
    async with AIOKafkaProducer(**furnished_kafka.settings(service), request_timeout_ms=5000) as producer:
        for topic in forbidden:
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send_and_wait(topic, b"forged", partition=0)


@pytest.mark.parametrize("service", SERVICES)
async def test_the_broker_serves_a_service_exactly_the_topics_that_it_may_read(furnished_kafka: Kafka, service: str) -> None:
    # the request itself, because clients ask for a refused topic's metadata without end instead of raising
    topics = list(catalogue().topics.values())
    client = AIOKafkaClient(**furnished_kafka.settings(service))
    await client.bootstrap()
    try:
        fetch = FetchRequest(100, 0, 1_000_000, 0, [(topic.name, [(0, 0, 10_000)]) for topic in topics])
        answer = await client.send(client.get_random_node(), fetch)
    finally:
        await client.close()
    served = {name for name, partitions in answer.topics if partitions[0][1] == 0}
    refused = {name for name, partitions in answer.topics if partitions[0][1] == TopicAuthorizationFailedError.errno}
    assert served == {topic.name for topic in topics if service in topic.readers}
    assert refused == {topic.name for topic in topics} - served


async def test_a_service_cannot_take_the_transactional_id_of_another(furnished_kafka: Kafka) -> None:
    producer = AIOKafkaProducer(**furnished_kafka.settings("worker"), transactional_id="execution.runs.events.0")
    try:
        with pytest.raises(TransactionalIdAuthorizationFailed):
            await producer.start()
    finally:
        await producer.stop()


async def test_a_service_cannot_move_the_positions_of_anothers_group(furnished_kafka: Kafka) -> None:
    consumer = AIOKafkaConsumer(**furnished_kafka.settings("evidence"), group_id="command.policies", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition("control.events", 0)])
        with pytest.raises(GroupAuthorizationFailedError):
            await consumer.commit({TopicPartition("control.events", 0): 0})
    finally:
        await consumer.stop()


async def test_a_wrong_password_is_refused(furnished_kafka: Kafka) -> None:
    settings = furnished_kafka.settings("command") | {"sasl_plain_password": "guessed"}
    producer = AIOKafkaProducer(**settings)
    try:
        with pytest.raises((KafkaConnectionError, KafkaError)):
            await producer.start()
    finally:
        await producer.stop()


async def test_a_publisher_may_open_no_transaction(furnished_kafka: Kafka) -> None:
    """One that stays open would hold back an inbox for every reader of committed records."""
    producer = AIOKafkaProducer(**furnished_kafka.settings(PUBLISHER), transactional_id=f"{PUBLISHER}.test.0")
    try:
        with pytest.raises(TransactionalIdAuthorizationFailed):
            await producer.start()
    finally:
        await producer.stop()


@pytest.mark.parametrize("service", [name for name in SERVICES if name != PUBLISHER])
async def test_a_service_writes_each_of_its_topics_in_a_transaction(furnished_kafka: Kafka, service: str) -> None:
    mine = catalogue().writable_by(service)
    assert mine, f"contracts/topics.yaml names no topic that {service} writes: a principal without a use"
    async with AIOKafkaProducer(**furnished_kafka.settings(service), transactional_id=f"{service}.test.0") as producer:
        for topic in mine:
            async with producer.transaction():
                stored = await producer.send_and_wait(topic.name, b"mine", partition=topic.partitions - 1)
            expected = 1 if topic.is_inbox else 0
            assert stored.timestamp_type == expected, f"{topic.name}: the broker's clock judges inboxes, and only those"
