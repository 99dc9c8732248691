"""The product from deploy/compose.yaml, as a user starts it there: a project of its own on a free port, removed with its volumes."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import docker
import httpx
from barecount_local.ports import free_ports
from barecount_local.waiting import until
from docker.errors import DockerException

FILE = Path(__file__).resolve().parents[2] / "deploy" / "compose.yaml"
IMAGES = ("kafka", "postgres", "barecount", "edge")
READY_SECONDS = 300
TICK_SECONDS = 2.0


@dataclass
class Composed:
    """One project. `call` is docker compose, `cli` the barecount command in its container; nothing reaches into a service."""

    project: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, *args: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """With `check`, a failure shows its whole output."""
        command = [*compose(), "--file", str(FILE), "--project-name", self.project, *args]
        environment = {**os.environ, "BARECOUNT_HTTP_PORT": str(self.port), "BARECOUNT_PUBLIC_URL": self.url}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def cli(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        # everything runs: without --no-deps the older compose would provision again before each call
        return self.call("run", "--rm", "--no-deps", "-T", "cli", *args, check=check)

    def up(self) -> None:
        """Returns when every container that has a health check is healthy and the edge answers."""
        self.call("up", "--detach", "--no-build")
        self.wait()

    def wait(self) -> None:
        until(self.ready, what=f"every container of {self.project} to be healthy", seconds=READY_SECONDS)

    def ready(self) -> bool:
        with suppress(httpx.HTTPError):
            healthy = all(_healthy(one) for one in self.containers().values())
            return healthy and httpx.get(f"{self.url}/health", trust_env=False).status_code == 200
        return False

    def containers(self) -> dict[str, Any]:
        """Service → its container, as the engine sees it; `init` and `provision` have ended by design."""
        found = engine().containers.list(all=True, filters={"label": f"com.docker.compose.project={self.project}"})
        named = {one.labels["com.docker.compose.service"]: one for one in found}
        return {name: one for name, one in named.items() if name not in ("init", "provision", "cli")}


def _healthy(container: Any) -> bool:
    health = container.attrs["State"].get("Health", {}).get("Status")
    return container.status == "running" and health in (None, "", "healthy")


@cache
def engine() -> Any:
    """The Docker engine that DOCKER_HOST names. Raises DockerException when none answers."""
    found = docker.from_env()
    found.ping()
    return found


@cache
def compose() -> tuple[str, ...]:
    """docker compose, or the older docker-compose. Raises RuntimeError when there is neither."""
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    raise RuntimeError("neither `docker compose` nor `docker-compose` is here")


def why_not() -> str | None:
    """Why the product cannot be composed here; None when it can."""
    if os.environ.get("BARECOUNT_TEST_SERVERS") != "containers":
        return "only by make test-containers (BARECOUNT_TEST_SERVERS=containers)"
    try:
        compose()
        tags = {tag.removeprefix("localhost/").removeprefix("docker.io/") for image in engine().images.list() for tag in image.tags}
    except (DockerException, RuntimeError) as error:
        return f"no container engine with compose: {error}"
    missing = [name for name in IMAGES if f"barecount/{name}:latest" not in tags]
    return f"make images first: {', '.join(missing)} missing" if missing else None


@contextmanager
def composed() -> Iterator[Composed]:
    """A running product without the story; containers, networks and volumes are removed with the block."""
    (port,) = free_ports(1)
    made = Composed(f"barecount-test-{secrets.token_hex(3)}", port)
    with health_checks(made.project):
        try:
            made.up()
            yield made
        finally:
            made.call("down", "--volumes", "--timeout", "20", check=False)


@contextmanager
def health_checks(project: str) -> Iterator[None]:
    """Runs the containers' health checks where the engine does not: podman leaves them to systemd, which is not everywhere."""
    parts = engine().version().get("Components", [])
    if not any("podman" in part["Name"].lower() for part in parts) or Path("/run/systemd/system").exists():
        yield
        return
    ended = threading.Event()

    def tick() -> None:
        own = docker.from_env()
        while not ended.wait(TICK_SECONDS):
            for one in own.containers.list(filters={"label": f"com.docker.compose.project={project}"}, sparse=True):
                # one that ended meanwhile has no health
                with suppress(Exception):
                    own.api.get(f"{own.api.base_url}/v4.0.0/libpod/containers/{one.id}/healthcheck", timeout=10)

    ticking = threading.Thread(target=tick, name="health checks", daemon=True)
    ticking.start()
    try:
        yield
    finally:
        ended.set()
        ticking.join(30)
