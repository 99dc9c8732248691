"""What a person may choose about the embedded stack: the only reader of the environment here (besides the jars' cache folder)."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .errors import StackError

DEFAULT_HTTP_PORT = 8400
# `barecount webhooks listen` listens so many ports above the edge
LISTEN_ABOVE = 10
# with less room on its disk a stack does not start, and says so while it runs
NEEDED_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class StackSettings:
    """data_dir is absolute. kafka and database select servers that already run; then the embedded ones are not started."""

    data_dir: Path
    http_port: int = DEFAULT_HTTP_PORT
    kafka: str | None = None
    kafka_username: str | None = None
    kafka_password: str | None = None
    database: str | None = None
    webhook_private_targets: str = ""
    kafka_java_options: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> StackSettings:
        """BARECOUNT_DATA_DIR, BARECOUNT_HTTP_PORT, KAFKA_BOOTSTRAP_SERVERS (KAFKA_USERNAME, KAFKA_PASSWORD), DATABASE_URL,
        BARECOUNT_WEBHOOK_PRIVATE_TARGETS (without it only where `barecount webhooks listen` listens), BARECOUNT_KAFKA_JAVA_OPTIONS
        (of the embedded broker, as `-Xmx1g`).

        Raises StackError that names the variable which is not valid.
        """
        port = environment.get("BARECOUNT_HTTP_PORT") or str(DEFAULT_HTTP_PORT)
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise StackError(f"BARECOUNT_HTTP_PORT={port} is not a port: use a number from 1 to 65535")
        database = environment.get("DATABASE_URL") or None
        if database and urlsplit(database).scheme not in ("postgresql", "postgres"):
            raise StackError(
                "DATABASE_URL must be postgresql://user:password@host:port/database, of a user who may create roles and databases"
            )
        return cls(
            data_dir=Path(environment.get("BARECOUNT_DATA_DIR") or ".barecount").absolute(),
            http_port=int(port),
            kafka=environment.get("KAFKA_BOOTSTRAP_SERVERS") or None,
            kafka_username=environment.get("KAFKA_USERNAME") or None,
            kafka_password=environment.get("KAFKA_PASSWORD") or None,
            database=database,
            kafka_java_options=tuple(shlex.split(environment.get("BARECOUNT_KAFKA_JAVA_OPTIONS", ""))),
            # nothing else on this machine may be reached through a tenant's webhook
            webhook_private_targets=environment.get("BARECOUNT_WEBHOOK_PRIVATE_TARGETS", f"127.0.0.1:{int(port) + LISTEN_ABOVE}"),
        )

    @property
    def logs(self) -> Path:
        return self.data_dir / "logs"

    @property
    def record(self) -> Path:
        return self.data_dir / "stack.json"

    @property
    def lock(self) -> Path:
        return self.data_dir / "supervisor.lock"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"
