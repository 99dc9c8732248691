"""Reads contracts/topics.yaml: what every topic is, who writes it, and which partition a key belongs to."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import Field

from .message import Part


class Topic(Part):
    """One row of topics.yaml."""

    name: str
    about: str
    key: str
    partitions: int = Field(ge=1)
    retention: str = Field(description="`forever` or an ISO 8601 duration in days, P30D")
    max_bytes: int = Field(description="The largest record that is read")
    broker_max_bytes: int | None = Field(default=None, description="The largest that the broker takes, so that it is answered")
    form: Literal["envelope", "cloudevent"] = Field(default="envelope", description="What a record's value is")
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    payloads: tuple[str, ...]

    @property
    def retention_ms(self) -> int:
        """Kafka's retention.ms: -1 for forever."""
        if self.retention == "forever":
            return -1
        found = re.fullmatch(r"P(\d+)D", self.retention)
        if found is None:
            raise ValueError(f"{self.name}: retention {self.retention!r} is neither `forever` nor P<days>D")
        return int(found[1]) * 86_400_000

    @property
    def is_inbox(self) -> bool:
        return self.name.endswith(".commands")


class Catalogue(Part):
    generation: int
    topics: dict[str, Topic]

    def writable_by(self, service: str) -> list[Topic]:
        return [topic for topic in self.topics.values() if service in topic.writers]

    def readable_by(self, service: str) -> list[Topic]:
        return [topic for topic in self.topics.values() if service in topic.readers]


@cache
def catalogue() -> Catalogue:
    """The catalogue as it stands in topics.yaml beside this package."""
    raw = yaml.safe_load((files("barecount_contracts") / "topics.yaml").read_text())
    return Catalogue(generation=raw["generation"], topics={name: Topic(name=name, **row) for name, row in raw["topics"].items()})


Kind = Literal["command", "event"]


@lru_cache(maxsize=4096)
def murmur2(key: bytes) -> int:
    """Kafka's default key hash, as a positive 31-bit number (org.apache.kafka.common.utils.Utils.murmur2 and toPositive).

    Remembered: keys are tenants, and the same few come again and again.
    """
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    length = len(key)
    h = (0x9747B28C ^ length) & mask
    for i in range(0, length - length % 4, 4):
        k = int.from_bytes(key[i : i + 4], "little") * m & mask
        k ^= k >> 24
        h = (h * m & mask) ^ (k * m & mask)
    tail = key[length - length % 4 :]
    if tail:
        h ^= int.from_bytes(tail, "little")
        h = h * m & mask
    h ^= h >> 13
    h = h * m & mask
    h ^= h >> 15
    return h & 0x7FFFFFFF


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key: murmur2(key) mod partitions, as Java clients and aiokafka compute it."""
    return murmur2(key.encode()) % partitions
