"""What this service is told beside what every service is."""

from __future__ import annotations

from barecount_chassis import Settings
from pydantic import Field


class StreamSettings(Settings):
    stream_derives: bool = Field(default=True, description="Whether this process writes state.changes; one of several replicas does")
    stream_heartbeat_seconds: float = Field(default=15.0, gt=0, le=300, description="Between two signs of life on a quiet stream")
    stream_slow_seconds: float = Field(default=30.0, gt=0, le=600, description="For how long a client may not read before it is cut")
    stream_limit: int = Field(default=20, ge=1, description="Streams that one principal may have open at a process")
    stream_buffer_records: int = Field(default=5_000, ge=1, description="Newest changes held for clients, by partition")
    stream_buffer_bytes: int = Field(default=16_000_000, ge=1, description="Their size, by partition")
    stream_catch_ups: int = Field(default=16, ge=1, description="Clients behind the buffer that are served from the log at once")
