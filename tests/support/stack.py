"""The product, started as a user starts it: `barecount up` in a folder of its own, on free ports."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from barecount_cli.client import Client
from barecount_cli.settings import CliSettings
from barecount_local.ports import free_ports, is_free
from barecount_local.settings import LISTEN_ABOVE, StackSettings
from barecount_local.status import status

from tests.support.examples import admin
from tests.support.servers import SHORT_LIVED

BARECOUNT = [str(Path(sys.executable).with_name("barecount"))]


@dataclass
class Stack:
    """One installation. Every verb is the CLI's; nothing reaches into a service."""

    folder: Path
    port: int
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        own = {
            "BARECOUNT_DATA_DIR": str(self.data),
            "BARECOUNT_HTTP_PORT": str(self.port),
            "BARECOUNT_STATE_DIR": str(self.folder / "state"),
            "NO_COLOR": "1",
            "COLUMNS": "200",
            "BARECOUNT_KAFKA_JAVA_OPTIONS": " ".join(SHORT_LIVED),
        }
        return {**os.environ, **own, **self.extra}

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def settings(self) -> CliSettings:
        return CliSettings(data_dir=self.data, http_port=self.port, state_dir=self.folder / "state", url=f"http://127.0.0.1:{self.port}")

    def client(self, role: str = "tenant_admin", tenant: str = "acme", user: str | None = None) -> Client:
        return Client.of(self.settings, role=role, tenant=tenant, user=user or f"{role}@{tenant}")

    def run(self, *args: str, check: bool = True, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """`barecount <args>`; with `check`, a failure shows its whole output."""
        done = subprocess.run(
            [*BARECOUNT, *args], env=self.env, capture_output=True, text=True, timeout=timeout, cwd=self.folder, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"barecount {' '.join(args)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *args: str) -> subprocess.Popen[str]:
        """`barecount <args>` in the background."""
        return subprocess.Popen(
            [*BARECOUNT, *args], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder
        )

    def status(self) -> dict[str, Any]:
        """What `barecount status` shows, without a process for each look (tests/integration/local looks through the terminal)."""
        return status(StackSettings.of(self.env))

    def processes(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.status()["processes"]}

    def librdkafka_admin(self) -> dict[str, str]:
        """confluent-kafka settings of the broker's admin, for judges."""
        return admin(self.data)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Sends a signal to one process of this stack; its pid."""
        pid = int(self.processes()[name]["pid"])
        os.kill(pid, number)
        return pid


@contextmanager
def stack(**extra: str) -> Iterator[Stack]:
    """A running stack without the story; ended and removed with the block."""
    folder = Path(tempfile.mkdtemp(prefix="barecount-e2e-"))
    folder.chmod(0o755)
    # the story's receiver of webhooks listens beside the edge
    port = next(port for port in iter(lambda: free_ports(1)[0], None) if is_free(port + LISTEN_ABOVE))
    made = Stack(folder, port, extra)
    try:
        made.run("up", "--no-demo", timeout=240)
        yield made
    finally:
        made.run("down", check=False)
        shutil.rmtree(folder, ignore_errors=True)
