"""The passwords of one stack: made once, kept in one file that only its owner can read, never written elsewhere."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

# one Kafka principal a service, and one for external systems: they publish signed commands and read outcomes
PUBLISHER = "publisher"
PRINCIPALS = ("admin", "command", "execution", "worker", "lineage", "evidence", "webhooks", "streams", PUBLISHER)
# the services that keep a read model, and thus a database and a login role of the same name
DATABASES = ("command", "execution", "lineage", "evidence", "webhooks")


@dataclass(frozen=True)
class Passwords:
    """kafka: principal → password. postgres: login role → password, `postgres` is the superuser."""

    kafka: dict[str, str]
    postgres: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> Passwords:
        """Those of the data folder; what is missing is made and written first."""
        path = folder / "passwords.json"
        before = json.loads(path.read_text()) if path.exists() else {"kafka": {}, "postgres": {}}
        made = {
            "kafka": {name: before["kafka"].get(name) or secrets.token_urlsafe(24) for name in PRINCIPALS},
            "postgres": {name: before["postgres"].get(name) or secrets.token_urlsafe(24) for name in ("postgres", *DATABASES)},
        }
        if made != before:
            write_private(path, json.dumps(made, indent=2).encode())
        return cls(kafka=made["kafka"], postgres=made["postgres"])


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
