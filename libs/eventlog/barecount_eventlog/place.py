"""Where the owners of one handler work."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import KafkaSettings

FENCED_BACKOFF = (5.0, 120.0)


@dataclass(frozen=True)
class Place:
    """Names and sizes that all owners of one handler share."""

    kafka: KafkaSettings
    service: str
    inbox: str
    events: str
    partitions: int
    max_batch: int
    snapshot_every: int
    fenced_backoff: tuple[float, float] = FENCED_BACKOFF

    @property
    def group(self) -> str:
        return f"{self.service}.{self.inbox}"
