"""Where data lies. Landing files are shared by a tenant's environments; tables and staging are an environment's own.

<root>/<tenant>/landing/…
<root>/<tenant>/<environment>/tables/…
<root>/<tenant>/<environment>/.staging/<run>/<stage>/<data partition>/<nonce>/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_SEGMENT = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.:+=@-]{0,127}$")


@dataclass(frozen=True, slots=True)
class Lake:
    """The folders of one environment of one tenant. Every path it gives lies inside them; ValueError otherwise."""

    root: Path
    tenant: str
    environment: str

    def __post_init__(self) -> None:
        _segments(self.tenant, self.environment)

    @property
    def home(self) -> Path:
        return self.root / self.tenant

    def landing(self, path: str, data_partition: str) -> Path:
        """A source's file of a data partition."""
        _segments(data_partition)
        return self._inside(self.home, path.replace("{partition}", data_partition))

    def table(self, path: str) -> Path:
        return self._inside(self.home / self.environment, path)

    def staging(self, run_id: str, stage: str, data_partition: str, nonce: str) -> Path:
        """The folder that one attempt alone writes."""
        _segments(run_id, stage, data_partition, nonce)
        return self.home / self.environment / ".staging" / run_id / stage / data_partition / nonce

    def staged(self, relative: str) -> Path:
        """A staged file by its name relative to the root; only this environment's staging is reachable."""
        path = self._inside(self.root, relative)
        if not path.is_relative_to(self.home / self.environment / ".staging"):
            raise ValueError(f"'{relative}' is not in the staging of {self.tenant}/{self.environment}")
        return path

    def relative(self, path: Path) -> str:
        """A path as it is told to others: relative to the root, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    @staticmethod
    def _inside(folder: Path, relative: str) -> Path:
        parts = PurePosixPath(relative).parts
        if not parts or relative.startswith("/") or ".." in parts or "\\" in relative or "\0" in relative:
            raise ValueError(f"'{relative}' leads out of {folder.name}")
        return folder.joinpath(*parts)


def _segments(*names: str) -> None:
    for name in names:
        if not _SEGMENT.match(name) or ".." in name:
            raise ValueError(f"'{name}' cannot be part of a path")
