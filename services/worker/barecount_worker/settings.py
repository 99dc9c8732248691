"""What a worker is told beyond every service's settings."""

from __future__ import annotations

from pathlib import Path

from barecount_chassis import Settings
from pydantic import Field


class WorkerSettings(Settings):
    """BARECOUNT_WORKER_ID and BARECOUNT_LAKE_DIR are needed; the rest has defaults."""

    pool: str = Field(default="default", description="The pool of workers that this one belongs to")
    slots: int = Field(default=1, ge=1, le=64, description="Tasks at once; each has a process of its own")
    slot_memory: str = Field(default="1GB", pattern=r"^\d+(\.\d+)?(MB|GB|MiB|GiB)$", description="DuckDB's limit in one slot")
    slot_idle_seconds: float = Field(default=60.0, gt=0, description="How long a slot's process waits for its next task before it ends")
    announce_seconds: float = Field(default=60.0, gt=0, description="An idle worker says again that it is there")

    @property
    def identity(self) -> str:
        """Who this worker is, the same again after a restart. Raises: SettingsError."""
        return self.need("worker_id")

    @property
    def lake(self) -> Path:
        """The folder with landing files, staging and tables. Raises: SettingsError."""
        return Path(self.need("lake_dir")).absolute()
