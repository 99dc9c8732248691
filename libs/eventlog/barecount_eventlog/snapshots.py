"""Snapshots shorten a restore; they decide nothing. A snapshot holds committed state only, so that even a zombie's is true."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from .continuity import Mark

_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """events_next, inbox_next: where reading goes on. schema: the form of the blob; another form is ignored and the log replayed.

    cluster, mark: the log that it is of, and the newest event in it (continuity.py); None when they were not kept.
    """

    schema: str
    events_next: int
    inbox_next: int
    blob: bytes
    cluster: str | None = None
    mark: Mark | None = None


class SnapshotStore(Protocol):
    """Keeps the newest snapshot of every (service, partition, schema)."""

    async def load(self, service: str, partition: int, schema: str) -> Snapshot | None: ...

    async def save(self, service: str, partition: int, snapshot: Snapshot) -> None:
        """Must never replace a snapshot of the same schema by an older one."""
        ...


def join(books: bytes, domain: bytes) -> bytes:
    return _LENGTH.pack(len(books)) + books + domain


def part(blob: bytes) -> tuple[bytes, bytes]:
    (length,) = _LENGTH.unpack_from(blob)
    cut = _LENGTH.size + length
    return blob[_LENGTH.size : cut], blob[cut:]
