"""The servers by themselves: their data survives, their parts are pinned, their catalogue is kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from barecount_contracts import catalogue
from barecount_local import jars, provision
from barecount_local.errors import DownloadRefused, JarMismatch, NotReady, TopicMismatch
from barecount_local.waiting import until

from tests.support.servers import Kafka, Postgres, kafka_server, postgres_server

pytestmark = pytest.mark.integration


def test_a_jar_with_other_bytes_than_the_lock_names_is_refused_by_name(tmp_path: Path) -> None:
    jars.classpath()  # the machine's own cache is whole
    shutil.copytree(jars.cache_folder() / "jars", tmp_path / "jars")
    victim = tmp_path / "jars" / "kafka-clients-4.1.0.jar"
    victim.write_bytes(victim.read_bytes() + b"\0")
    with pytest.raises(JarMismatch, match=r"org\.apache\.kafka:kafka-clients:4\.1\.0") as refused:
        jars.classpath(tmp_path)
    assert f"Delete {victim}" in str(refused.value)


def test_a_download_that_is_refused_names_the_artifact_and_what_to_do(tmp_path: Path) -> None:
    lock = tmp_path / "lock.toml"
    lock.write_text(jars.LOCK.read_text().replace("org.apache.kafka:kafka_2.13:4.1.0", "org.apache.kafka:kafka_2.13:0.0.404"))
    with pytest.raises(DownloadRefused, match=r"kafka_2\.13:0\.0\.404") as refused:
        jars.classpath(tmp_path, lock)
    assert "KAFKA_BOOTSTRAP_SERVERS" in str(refused.value)


def test_a_deadline_says_what_was_waited_for_and_shows_the_last_log_lines(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("starting\nno room left\n")
    with pytest.raises(NotReady, match=r"waited 0\.1 s for the moon") as late:
        until(lambda: False, what="the moon", seconds=0.1, log=log)
    assert "no room left" in str(late.value)


def test_a_topic_with_another_partition_count_than_the_catalogue_is_an_error() -> None:
    from confluent_kafka.admin import AdminClient

    with kafka_server() as kafka:
        admin = AdminClient({**kafka.librdkafka(), "log_level": 0})
        grown = catalogue().topics["api.calls"].model_copy(update={"partitions": 6})
        other = catalogue().model_copy(update={"topics": {"api.calls": grown}})
        provision.create_topics(admin, other)
        with pytest.raises(TopicMismatch, match=r"api\.calls has 6 partitions"):
            provision.create_topics(admin, catalogue())


async def test_what_was_acknowledged_is_there_after_kafka_was_killed_and_after_a_stop() -> None:
    with kafka_server() as kafka:
        topic = kafka.topic("kept")
        for number, end in enumerate((kafka.kill, kafka.stop)):
            async with AIOKafkaProducer(**kafka.settings(), acks="all") as producer:
                await producer.send_and_wait(topic, str(number).encode())
            end()
            kafka.start()
        async with AIOKafkaConsumer(**kafka.settings(), auto_offset_reset="earliest") as consumer:
            consumer.assign([TopicPartition(topic, 0)])
            assert [(await consumer.getone()).value for _ in range(2)] == [b"0", b"1"]


async def test_what_was_committed_is_there_after_postgresql_was_killed_and_after_a_stop() -> None:
    with postgres_server() as postgres:
        dsn = await postgres.create_database()
        await _query(dsn, "create table kept (number int)")
        for number, end in enumerate((postgres.kill, postgres.stop)):
            await _query(dsn, f"insert into kept values ({number})")
            end()
            postgres.start()
        assert [row["number"] for row in await _query(dsn, "select number from kept order by number")] == [0, 1]


async def test_a_services_role_owns_its_database_and_reaches_no_other(postgres: Postgres) -> None:
    await postgres.furnish()
    own = postgres.dsn("command", "command")
    assert (await _query(own, "select rolsuper, rolcreatedb from pg_roles where rolname = current_user"))[0]["rolsuper"] is False
    await _query(own, "create table mine (number int)")
    await _query(own, "drop table mine")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _query(postgres.dsn("execution", "command"), "select 1")


def test_furnishing_twice_changes_nothing(furnished_kafka: Kafka) -> None:
    from confluent_kafka.admin import AclBindingFilter, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType

    admin = AdminClient({**furnished_kafka.librdkafka(), "log_level": 0})
    every = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
    provision.create_acls(admin, catalogue())
    before = set(admin.describe_acls(every).result())
    provision.create_topics(admin, catalogue())
    provision.create_acls(admin, catalogue())
    assert set(admin.describe_acls(every).result()) == before


async def _query(dsn: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return list(await connection.fetch(statement))
    finally:
        await connection.close()
