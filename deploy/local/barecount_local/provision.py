"""What servers must hold before services start: topics, ACLs, SCRAM users, databases. Repeating it changes nothing.

Runs as a short-lived child (`python -m barecount_local.provision`, its order as JSON on stdin), because confluent-kafka brings
threads and asyncpg a loop: neither may live in the process that services are forked from.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from .errors import StackError, TopicMismatch
from .waiting import until

SECONDS = 30


def provision(kafka: dict[str, str] | None, postgres: str | None, kafka_users: dict[str, str], roles: dict[str, str]) -> None:
    """Does it in a child. kafka: librdkafka's connection settings of the admin, postgres: the superuser's DSN, roles: login → password.

    Raises TopicMismatch, StackError.
    """
    order = json.dumps({"kafka": kafka, "postgres": postgres, "kafka_users": kafka_users, "roles": roles})
    done = subprocess.run(
        [sys.executable, "-m", "barecount_local.provision"], input=order, capture_output=True, text=True, check=False, timeout=4 * SECONDS
    )
    if done.returncode == 3:
        raise TopicMismatch(done.stderr.strip())
    if done.returncode != 0:
        raise StackError(f"Kafka and PostgreSQL run but could not be furnished:\n{done.stderr.strip()}")


def furnish_kafka(connection: dict[str, str], users: dict[str, str]) -> None:
    """Creates the catalogue's topics, each service's ACLs and the SCRAM users that do not exist yet; topics alone without users."""
    from barecount_contracts import catalogue

    admin = _library().AdminClient({**connection, "log_level": 0})
    create_topics(admin, catalogue())
    if users:
        create_acls(admin, catalogue())
        create_users(admin, users)


def create_topics(admin: Any, known: Any) -> None:
    """Creates what is missing. Raises TopicMismatch when one stands with another partition count."""
    library = _library()
    standing = admin.list_topics(timeout=SECONDS).topics
    fresh = []
    for topic in known.topics.values():
        if topic.name in standing:
            found = len(standing[topic.name].partitions)
            if found != topic.partitions:
                raise TopicMismatch(
                    f"topic {topic.name} has {found} partitions, but contracts/topics.yaml names {topic.partitions}. Keys would move "
                    "between partitions and their order would be lost: set it back, or start a new log generation (docs: operating)."
                )
            continue
        config = {
            "cleanup.policy": "delete",
            "retention.ms": str(topic.retention_ms),
            "max.message.bytes": str(topic.broker_max_bytes or topic.max_bytes),
        }
        if topic.is_inbox:
            # deadlines and idempotency keys are judged by the broker's clock, which no client can set
            config["message.timestamp.type"] = "LogAppendTime"
        fresh.append(library.NewTopic(topic.name, topic.partitions, 1, config=config))
    _settle(admin.create_topics(fresh, request_timeout=SECONDS).values() if fresh else ())
    names = set(known.topics)
    until(lambda: names <= set(admin.list_topics(timeout=SECONDS).topics), what="the broker to know its topics", seconds=SECONDS)


def create_acls(admin: Any, known: Any) -> None:
    """Creates the permissions that are missing and takes away those that the catalogue no longer names."""
    from .principals import permissions

    library = _library()
    wanted = {
        library.AclBinding(
            library.ResourceType[row.resource],
            row.name,
            library.ResourcePatternType.PREFIXED if row.prefixed else library.ResourcePatternType.LITERAL,
            f"User:{row.principal}",
            "*",
            library.AclOperation[row.operation],
            library.AclPermissionType.ALLOW,
        )
        for row in permissions(known)
    }
    every = library.AclBindingFilter(
        library.ResourceType.ANY, None, library.ResourcePatternType.ANY, None, None, library.AclOperation.ANY, library.AclPermissionType.ANY
    )
    standing = set(admin.describe_acls(every, request_timeout=SECONDS).result())
    if wanted - standing:
        _settle(admin.create_acls(list(wanted - standing), request_timeout=SECONDS).values())
    stale = [
        library.AclBindingFilter(a.restype, a.name, a.resource_pattern_type, a.principal, a.host, a.operation, a.permission_type)
        for a in standing - wanted
    ]
    if stale:
        _settle(admin.delete_acls(stale, request_timeout=SECONDS).values())
    # the controller answers before the broker has applied it: a service that starts now would be refused what it may
    until(
        lambda: set(admin.describe_acls(every, request_timeout=SECONDS).result()) == wanted,
        what="the broker to apply the services' permissions",
        seconds=SECONDS,
    )


def create_users(admin: Any, users: dict[str, str]) -> None:
    """SCRAM users that came after the data folder was formatted."""
    library = _library()
    standing = admin.describe_user_scram_credentials(None, request_timeout=SECONDS).result()
    info = library.ScramCredentialInfo(library.ScramMechanism.SCRAM_SHA_256, 4096)
    fresh = [
        library.UserScramCredentialUpsertion(name, info, password.encode()) for name, password in users.items() if name not in standing
    ]
    if fresh:
        _settle(admin.alter_user_scram_credentials(fresh, request_timeout=SECONDS).values())


async def furnish_postgres(dsn: str, roles: dict[str, str]) -> None:
    """A database a service, owned by a login role of the same name that is no superuser; nobody else may connect to it."""
    import asyncpg

    connection = await asyncpg.connect(dsn, timeout=SECONDS)
    try:
        standing = {row["rolname"] for row in await connection.fetch("select rolname from pg_roles")}
        databases = {row["datname"] for row in await connection.fetch("select datname from pg_database")}
        for role, password in roles.items():
            secret = await connection.fetchval("select quote_literal($1::text)", password)
            if role not in standing:
                await connection.execute(f'create role "{role}" login nosuperuser nocreatedb nocreaterole password {secret}')
            # read models are queried under this role, which row-level security binds to one tenant (readmodel, Database.query)
            if f"{role}_query" not in standing:
                await connection.execute(f'create role "{role}_query" nologin')
            await connection.execute(f'grant "{role}_query" to "{role}"')
            if role not in databases:
                await connection.execute(f'create database "{role}" owner "{role}"')
            await connection.execute(f'revoke connect on database "{role}" from public')
        await connection.execute("revoke connect on database postgres from public")
    finally:
        await connection.close()


def _library() -> Any:
    """confluent-kafka's admin module, untyped: it exports its names only in C. Never loaded where services are forked."""
    return import_module("confluent_kafka.admin")


def _settle(futures: Iterable[Any]) -> None:
    for future in futures:
        future.result(SECONDS)


if __name__ == "__main__":
    order = json.load(sys.stdin)
    try:
        if order["kafka"]:
            furnish_kafka(order["kafka"], order["kafka_users"])
        if order["postgres"]:
            asyncio.run(furnish_postgres(order["postgres"], order["roles"]))
    except TopicMismatch as mismatch:
        sys.stderr.write(str(mismatch))
        sys.exit(3)
