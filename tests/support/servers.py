"""Real servers for tests, started once a session and only when a test asks for one.

The embedded ones in a temp folder on free ports; with BARECOUNT_TEST_SERVERS=containers those of deploy/images, through
testcontainers (tests/support/containers.py). Both have one face, and both take kill, stop and start.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barecount_local.kafka import KafkaServer
from barecount_local.passwords import Passwords
from barecount_local.ports import free_ports
from barecount_local.postgres import PostgresServer
from barecount_local.provision import furnish_kafka, furnish_postgres
from barecount_local.waiting import until

if TYPE_CHECKING:
    from .containers import KafkaContainer, PostgresContainer

SECONDS = 30
# a broker that lives for minutes never earns back what its JVM's second compiler costs: half of its CPU time
SHORT_LIVED = ("-XX:TieredStopAtLevel=1",)


class Kafka:
    """A running broker. Its ACLs are on from the start: `admin` may do everything, a service what topics.yaml says (see `furnish`)."""

    def __init__(self, server: KafkaServer | KafkaContainer, passwords: Passwords) -> None:
        self._server, self._passwords = server, passwords
        self._furnished = False
        self.bootstrap = server.bootstrap

    def settings(self, principal: str = "admin") -> dict[str, str]:
        """Keyword arguments for any aiokafka client: `AIOKafkaConsumer(**kafka.settings("command"))`."""
        return {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_plain_username": principal,
            "sasl_plain_password": self._passwords.kafka[principal],
        }

    def librdkafka(self, principal: str = "admin") -> dict[str, str]:
        """The same for confluent-kafka clients."""
        return {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": principal,
            "sasl.password": self._passwords.kafka[principal],
        }

    def topic(self, name: str = "topic", partitions: int = 1, **config: str) -> str:
        """Creates a throw-away topic and returns its unique name. config: `retention_ms="-1"` for `retention.ms`.

        Only `admin` may use it, unless `allow` names others.
        """
        from confluent_kafka.admin import NewTopic

        unique = f"{name}.{secrets.token_hex(4)}"
        fresh = NewTopic(unique, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
        self._admin.create_topics([fresh], request_timeout=SECONDS)[unique].result(SECONDS)
        # the controller answers before the broker tells others of it
        until(
            lambda: len(self._admin.list_topics(unique, timeout=SECONDS).topics[unique].partitions) == partitions,
            what=f"the broker to know {unique}",
            seconds=SECONDS,
        )
        return unique

    def topics(self, *names: str, partitions: int = 1, **config: str) -> list[str]:
        """Several throw-away topics of the same shape, in the order of the names."""
        return [self.topic(name, partitions, **config) for name in names]

    def allow(self, principal: str, topic: str, *operations: str) -> None:
        """Lets a service principal READ or WRITE a throw-away topic."""
        from confluent_kafka.admin import AclBinding, AclBindingFilter, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

        allow, literal = AclPermissionType.ALLOW, ResourcePatternType.LITERAL
        rows = [
            AclBinding(ResourceType.TOPIC, topic, literal, f"User:{principal}", "*", AclOperation[operation], allow)
            for operation in operations or ("READ", "WRITE")
        ]
        for future in self._admin.create_acls(rows, request_timeout=SECONDS).values():
            future.result(SECONDS)
        mine = AclBindingFilter(ResourceType.TOPIC, topic, literal, f"User:{principal}", None, AclOperation.ANY, AclPermissionType.ANY)
        # the controller answers before the broker has applied it
        until(
            lambda: set(self._admin.describe_acls(mine, request_timeout=SECONDS).result()) >= set(rows),
            what=f"the broker to let {principal} use {topic}",
            seconds=SECONDS,
        )

    def furnish(self) -> None:
        """The catalogue's topics and every service's ACLs, as the stack has them; once a session."""
        if not self._furnished:
            furnish_kafka(self.librdkafka(), self._passwords.kafka)
            self._furnished = True

    def kill(self) -> None:
        """SIGKILL, as a crash. `start` brings it back with its data on the same port."""
        self._server.kill()

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        """Returns when it answers again (after `kill` within some 5 s)."""
        self._server.start()

    @cached_property
    def _admin(self) -> Any:
        # kept: a client that is collected takes its pending requests with it
        from confluent_kafka.admin import AdminClient

        return AdminClient({**self.librdkafka(), "log_level": 0})


class Postgres:
    """A running PostgreSQL. `dsn()` is the superuser's; a role `<service>` owns database `<service>` after `furnish`."""

    def __init__(self, server: PostgresServer | PostgresContainer, passwords: Passwords) -> None:
        self._server, self._passwords = server, passwords
        self._furnished = False

    def dsn(self, database: str = "postgres", user: str | None = None) -> str:
        """The address of a database for asyncpg; user: a service's login role instead of the superuser."""
        return (
            self._server.dsn(database) if user is None else self._server.dsn(database, user=user, password=self._passwords.postgres[user])
        )

    async def create_database(self, name: str = "test") -> str:
        """Creates an empty throw-away database and returns its address (superuser)."""
        import asyncpg

        unique = f"{name}_{secrets.token_hex(4)}"
        connection = await asyncpg.connect(self.dsn(), timeout=SECONDS)
        try:
            await connection.execute(f'create database "{unique}"')
        finally:
            await connection.close()
        return self.dsn(unique)

    async def furnish(self) -> None:
        """The services' databases and login roles, as the stack has them."""
        if not self._furnished:
            await furnish_postgres(self.dsn(), {name: word for name, word in self._passwords.postgres.items() if name != "postgres"})
            self._furnished = True

    def kill(self) -> None:
        self._server.kill()

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()


@contextmanager
def folder_for_servers() -> Iterator[Path]:
    """A temp folder that PostgreSQL's user can pass: pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="barecount-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def kafka_server(java_options: Sequence[str] = SHORT_LIVED) -> Iterator[Kafka]:
    """A broker of its own, ended with the block. Tests share one by the fixture `kafka`; a benchmark wants the JVM's own options: ()."""
    with folder_for_servers() as folder:
        passwords = Passwords.of(folder)
        if in_containers():
            from .containers import KafkaContainer

            contained = KafkaContainer(passwords.kafka)
            try:
                contained.start()
                yield Kafka(contained, passwords)
            finally:
                contained.remove()
            return
        port, controller_port = free_ports(2)
        server = KafkaServer(
            folder / "kafka",
            port=port,
            controller_port=controller_port,
            passwords=passwords.kafka,
            log=folder / "kafka.log",
            ends_with_parent=True,
            options=java_options,
        )
        try:
            server.start()
            yield Kafka(server, passwords)
        finally:
            # nobody reads this data again: no clean shutdown is needed
            server.kill()


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL of its own, ended with the block. Tests share one by the fixture `postgres`."""
    with folder_for_servers() as folder:
        passwords = Passwords.of(folder)
        if in_containers():
            from .containers import PostgresContainer

            contained = PostgresContainer(passwords.postgres["postgres"])
            try:
                contained.start()
                yield Postgres(contained, passwords)
            finally:
                contained.remove()
            return
        (port,) = free_ports(1)
        server = PostgresServer(
            folder / "postgres", port=port, password=passwords.postgres["postgres"], log=folder / "postgres.log", ends_with_parent=True
        )
        try:
            server.start()
            yield Postgres(server, passwords)
        finally:
            server.stop()


def in_containers() -> bool:
    """What BARECOUNT_TEST_SERVERS chose: `embedded` when it is not set. Raises ValueError for any other word."""
    chosen = os.environ.get("BARECOUNT_TEST_SERVERS", "embedded")
    if chosen not in ("embedded", "containers"):
        raise ValueError(f"BARECOUNT_TEST_SERVERS={chosen}: choose `embedded` or `containers`")
    return chosen == "containers"
