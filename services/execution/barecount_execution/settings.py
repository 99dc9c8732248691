"""What execution is told by its environment, beyond what every service is."""

from __future__ import annotations

from barecount_chassis import Settings
from pydantic import Field

from .domain import LEASE_SECONDS

SERVICE = "execution"


class ExecutionSettings(Settings):
    service: str = SERVICE
    lease_seconds: int = Field(default=LEASE_SECONDS, ge=2, le=3600, description="How long an attempt is believed in without a beat")
    snapshot_every: int = Field(default=10_000, ge=1, description="Events of a partition between two snapshots of its state")
