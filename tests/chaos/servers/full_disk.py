"""A small disk for one server, and a way to fill it: a tmpfs, which only root may mount."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from barecount_local.passwords import Passwords
from barecount_local.ports import free_ports
from barecount_local.postgres import PostgresServer

from tests.support.servers import Postgres


def why_no_disk() -> str | None:
    """Why no small disk can be made here; None when one can."""
    if os.geteuid() != 0:
        return "only root may mount a small disk"
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False)
        if tried.returncode:
            return f"no small disk can be mounted: {tried.stderr.strip()}"
        subprocess.run(["umount", folder], check=True)
    return None


@contextmanager
def mounted(mebibytes: int) -> Iterator[Path]:
    """A folder on a disk of this size, passable by all."""
    folder = Path(tempfile.mkdtemp(prefix="barecount-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def small_disk(mebibytes: int) -> Iterator[tuple[Postgres, Path]]:
    """A PostgreSQL of its own on a disk of its own."""
    with mounted(mebibytes) as disk:
        passwords = Passwords.of(disk)
        (port,) = free_ports(1)
        server = PostgresServer(
            disk / "postgres", port=port, password=passwords.postgres["postgres"], log=disk / "postgres.log", ends_with_parent=True
        )
        try:
            server.start()
            yield Postgres(server, passwords), disk
        finally:
            server.kill()


@contextmanager
def full_disk(disk: Path, leave: int = 2_000_000) -> Iterator[None]:
    """Fills the disk but for `leave` bytes; room again after the block."""
    ballast = disk / "ballast"
    room = os.statvfs(disk)
    size = room.f_bavail * room.f_frsize - leave
    try:
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        yield
    finally:
        ballast.unlink(missing_ok=True)
