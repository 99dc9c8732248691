"""Three Kafka nodes on loopback: a KRaft quorum, each node broker and controller, replication 3 with at least 2 in sync.

Built on the stack's own node (barecount_local.kafka): the same listeners, authentication and ACLs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from barecount_eventlog import KafkaSettings
from barecount_local.kafka import KafkaServer
from barecount_local.passwords import Passwords
from barecount_local.ports import HOST, free_ports

from tests.support.servers import folder_for_servers

NODES = 3
# three of them on the two cores of CI: no second compiler, a small heap
LEAN = ("-XX:TieredStopAtLevel=1", "-Xms48m", "-Xmx192m")
# each node is formatted by itself, and all must name the same
CLUSTER_ID = "bQxTr0GdS9K1aVj2hXw3Zg"


@dataclass(frozen=True)
class Cluster:
    """The running three, by node id; each takes kill, stop and start. kafka: settings of the admin that name all of them."""

    nodes: dict[int, KafkaServer]
    kafka: KafkaSettings

    async def coordinator_of(self, transactional_id: str) -> int:
        """The node that coordinates a transactional id now."""
        client = AIOKafkaClient(**self.kafka.client())
        await client.bootstrap()
        try:
            return int(await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id))
        finally:
            await client.close()

    async def leader_of(self, topic: str) -> int:
        """The node that leads a topic's only partition now."""
        client = AIOKafkaClient(**self.kafka.client())
        await client.bootstrap()
        try:
            client.add_topic(topic)
            await client.force_metadata_update()
            return int(client.cluster.leader_for_partition(TopicPartition(topic, 0)))
        finally:
            await client.close()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Three nodes of their own, ended with the block."""
    with folder_for_servers() as folder:
        passwords = Passwords.of(folder)
        ports = free_ports(2 * NODES)
        controllers = dict(enumerate(ports[NODES:], 1))
        common = {
            "controller.quorum.voters": ",".join(f"{number}@{HOST}:{port}" for number, port in controllers.items()),
            "offsets.topic.replication.factor": NODES,
            "transaction.state.log.replication.factor": NODES,
            "transaction.state.log.min.isr": NODES - 1,
            "default.replication.factor": NODES,
            "min.insync.replicas": NODES - 1,
            # a follower that is gone leaves the in-sync set in 3 s instead of 30
            "replica.lag.time.max.ms": 3000,
        }
        nodes = {
            number: KafkaServer(
                folder / f"kafka-{number}",
                port=ports[number - 1],
                controller_port=controllers[number],
                passwords=passwords.kafka,
                log=folder / f"kafka-{number}.log",
                ends_with_parent=True,
                options=LEAN,
                properties={**common, "node.id": number},
                cluster_id=CLUSTER_ID,
            )
            for number in controllers
        }
        try:
            # a node answers when two of the three have found each other
            for node in nodes.values():
                node.launch()
            for node in nodes.values():
                node.wait_ready()
            bootstrap = ",".join(node.bootstrap for node in nodes.values())
            yield Cluster(nodes, KafkaSettings(bootstrap, "admin", passwords.kafka["admin"]))
        finally:
            for node in nodes.values():
                node.kill()
