"""Kafka and PostgreSQL from the product's own images, by testcontainers: the same face as the embedded servers.

Chosen by BARECOUNT_TEST_SERVERS=containers. `make test-containers` builds the images first. A kill is the engine's SIGKILL of
the container's only process; `start` continues the same container, so its data is there as it is after a crash.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from barecount_local.kafka import answers
from barecount_local.ports import HOST, free_ports
from barecount_local.postgres import PostgresServer
from barecount_local.waiting import until
from docker.errors import DockerException, ImageNotFound
from testcontainers.core.container import DockerContainer

PREFIX = "barecount"
# a cold Java without its cache on a machine that builds images meanwhile
SECONDS = 120
KEPT_LINES = 20


class _Server:
    """One container that listens on the port which it also has on this machine: what a broker tells clients is true on both sides."""

    def __init__(self, image: str, port: int, environment: dict[str, str], ready: Callable[[], bool]) -> None:
        self.port, self._ready = port, ready
        self._name = f"{PREFIX}/{image}"
        self._container = DockerContainer(self._name, env=environment, ports=None)
        self._container.ports[f"{port}/tcp"] = (HOST, port)  # type: ignore[assignment]
        self._began = False

    def start(self) -> None:
        """Returns when it answers. Raises RuntimeError when no engine or no image is there, NotReady with the container's last lines."""
        if self._began:
            self._container.get_wrapped_container().start()
        else:
            self._create()
        try:
            until(self._ready, what=f"{self._name} on {HOST}:{self.port}", seconds=SECONDS, alive=self._alive)
        except Exception as error:
            error.add_note(self._container.get_wrapped_container().logs(tail=KEPT_LINES).decode(errors="replace"))
            raise

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()
        self._container.get_wrapped_container().wait()

    def stop(self) -> None:
        """As the image asks to be stopped: Kafka writes its clean-shutdown mark, PostgreSQL its checkpoint."""
        self._container.get_wrapped_container().stop(timeout=30)

    def remove(self) -> None:
        """The container and its data."""
        if self._began:
            self._container.stop()

    def _create(self) -> None:
        try:
            self._container.start()
        except ImageNotFound as missing:
            raise RuntimeError(f"the image {self._name} is not there: run `make images`") from missing
        except DockerException as error:
            raise RuntimeError(f"no Docker engine takes {self._name} (DOCKER_HOST names it): {error}") from error
        self._began = True

    def _alive(self) -> bool:
        self._container.reload()
        return bool(self._container.status in ("created", "running"))


class KafkaContainer(_Server):
    """passwords: principal → password. Only `admin` exists from the start; `furnish` makes the others."""

    def __init__(self, passwords: dict[str, str]) -> None:
        (port,) = free_ports(1)
        self.bootstrap = f"{HOST}:{port}"
        told = {
            "BARECOUNT_KAFKA_PORT": str(port),
            "BARECOUNT_KAFKA_ADVERTISED": self.bootstrap,
            "BARECOUNT_KAFKA_PASSWORDS": json.dumps(passwords),
        }
        super().__init__("kafka", port, told, lambda: answers(port))


class PostgresContainer(_Server):
    """password: the superuser's."""

    def __init__(self, password: str) -> None:
        (port,) = free_ports(1)
        # never launched: it knows how an address is written and how to ask
        self._client = PostgresServer(Path("/nonexistent"), port=port, password=password, log=Path("/nonexistent"))
        self.dsn = self._client.dsn
        super().__init__(
            "postgres", port, {"BARECOUNT_POSTGRES_PORT": str(port), "BARECOUNT_POSTGRES_PASSWORD": password}, self._client.answers
        )
