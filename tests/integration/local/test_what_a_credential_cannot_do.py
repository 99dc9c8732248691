"""Each service's credential against what is another's: groups, transactional ids, the broker itself. On the real authorizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupAuthorizationFailedError, TransactionalIdAuthorizationFailed
from aiokafka.protocol.transaction import AddOffsetsToTxnRequest, InitProducerIdRequest
from barecount_contracts import catalogue
from barecount_local.passwords import PRINCIPALS, PUBLISHER
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.support.servers import SECONDS, Kafka

pytestmark = pytest.mark.integration

SERVICES = [name for name in PRINCIPALS if name != "admin"]


async def asked(kafka: Kafka, principal: str, request: Any) -> Any:
    """The answer to one request: clients would ask again and again, or fail at something else first."""
    client = AIOKafkaClient(**kafka.settings(principal))
    await client.bootstrap()
    try:
        return await client.send(client.get_random_node(), request)
    finally:
        await client.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_transactional_id_of_another_is_refused_and_so_is_every_one_to_a_publisher(furnished_kafka: Kafka, service: str) -> None:
    for owner in SERVICES:
        name = f"{owner}.commands.0.0"
        answer = await asked(furnished_kafka, service, InitProducerIdRequest(name, 15_000))
        if owner == service != PUBLISHER:
            assert answer.error_code != TransactionalIdAuthorizationFailed.errno, f"{service} may not use its own id {name}"
        else:
            assert answer.error_code == TransactionalIdAuthorizationFailed.errno, f"{service} took {name}"


@pytest.mark.parametrize("service", [name for name in SERVICES if name != PUBLISHER])
async def test_a_transaction_carries_no_positions_into_anothers_group(furnished_kafka: Kafka, service: str) -> None:
    for owner in SERVICES:
        request = AddOffsetsToTxnRequest(f"{service}.commands.0.0", 1, 0, f"{owner}.commands")
        answer = await asked(furnished_kafka, service, request)
        refused = answer.error_code == GroupAuthorizationFailedError.errno
        assert refused == (owner != service), f"{service} into the group of {owner}: {answer.error_code}"


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_administers_the_broker(furnished_kafka: Kafka, service: str) -> None:
    admin = AdminClient({**furnished_kafka.librdkafka(service), "log_level": 0})
    mine = next(topic.name for topic in catalogue().topics.values() if service in (*topic.writers, *topic.readers))
    everything = AclBinding(
        ResourceType.TOPIC, mine, ResourcePatternType.LITERAL, f"User:{service}", "*", AclOperation.ALL, AclPermissionType.ALLOW
    )
    password = UserScramCredentialUpsertion("admin", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), b"mine")
    attempts: dict[str, Mapping[Any, Any]] = {
        "create a topic": admin.create_topics([NewTopic("mine", 1, 1)], request_timeout=SECONDS),
        "delete a topic": admin.delete_topics([mine], request_timeout=SECONDS),
        "shorten a log's retention": admin.alter_configs(
            [ConfigResource(ConfigResource.Type.TOPIC, mine, set_config={"retention.ms": "1"})], request_timeout=SECONDS
        ),
        "give itself a permission": admin.create_acls([everything], request_timeout=SECONDS),
        "take the admin's password": admin.alter_user_scram_credentials([password], request_timeout=SECONDS),
        "delete positions": admin.delete_consumer_groups(["command.pipelines.commands"], request_timeout=SECONDS),
    }
    for what, futures in attempts.items():
        for future in futures.values():
            with pytest.raises(KafkaException, match=r"AUTHORIZATION_FAILED|authorization failed|Authorization failed") as refused:
                future.result(SECONDS)
            assert refused.value.args[0].code() != 0, f"{service} could {what}"


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_deletes_records_of_any_topic(furnished_kafka: Kafka, service: str) -> None:
    from confluent_kafka import TopicPartition

    admin = AdminClient({**furnished_kafka.librdkafka(service), "log_level": 0})
    wanted = [TopicPartition(topic.name, 0, 0) for topic in catalogue().topics.values() if service in (*topic.writers, *topic.readers)]
    for where, future in admin.delete_records(wanted, request_timeout=SECONDS).items():
        with pytest.raises(KafkaException, match=r"(?i)authorization"):
            future.result(SECONDS)
        assert where.topic


def test_a_publisher_writes_commands_and_nothing_else() -> None:
    assert [topic.name for topic in catalogue().writable_by(PUBLISHER)] == ["pipelines.commands"]
