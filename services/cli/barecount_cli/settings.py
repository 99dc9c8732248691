"""The only reader of the environment: where the API is, who asks, where the embedded stack keeps its keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import CliError


class CliSettings(BaseSettings):
    """Everything can be set by `BARECOUNT_<NAME>`; flags of a command win."""

    model_config = SettingsConfigDict(env_prefix="BARECOUNT_", extra="ignore")

    url: str | None = Field(default=None, description="Address of the API; otherwise that of the stack in the data folder")
    token: str | None = Field(default=None, description="Bearer token; otherwise one of the embedded issuer for `tenant` and `role`")
    tenant: str = "acme"
    role: str = "tenant_admin"
    user: str = Field(default="cli", description="Who the embedded issuer's token names")
    http_port: int = 8400
    data_dir: Path = Path(".barecount")
    state_dir: Path = Field(default_factory=lambda: Path.home() / ".local" / "state" / "barecount", description="Pinned checkpoints")

    kafka_bootstrap: str | None = Field(
        default=None, description="host:port of the brokers; otherwise those of the stack in the data folder"
    )
    kafka_username: str | None = None
    kafka_password: str | None = Field(default=None, repr=False)

    def kafka(self) -> dict[str, Any]:
        """aiokafka's keyword arguments for external systems (principal `publisher` of the embedded stack). Raises: CliError."""
        if self.kafka_bootstrap is None:
            return _scram(*self._embedded())
        if self.kafka_username is None:
            return {"bootstrap_servers": self.kafka_bootstrap}
        return _scram(self.kafka_bootstrap, self.kafka_username, self.kafka_password or "")

    def _embedded(self) -> tuple[str, str, str]:
        try:
            password = json.loads((self.data_dir / "passwords.json").read_text())["kafka"]["publisher"]
            return str(self.stack()["kafka_bootstrap"]), "publisher", str(password)
        except (OSError, ValueError, KeyError) as error:
            raise CliError(
                f"{self.data_dir} tells no broker that runs",
                "Start the stack with `barecount up`, or set BARECOUNT_KAFKA_BOOTSTRAP, _USERNAME and _PASSWORD.",
            ) from error

    @property
    def keys(self) -> Path:
        return self.data_dir / "keys"

    @property
    def address(self) -> str:
        """The API's base address, without a trailing slash."""
        if self.url:
            return self.url.rstrip("/")
        port = self.stack().get("http_port", self.http_port)
        return f"http://127.0.0.1:{port}"

    @property
    def webhook_listen_port(self) -> int:
        """The one port of this machine that the embedded stack delivers webhooks to: ten above the API's."""
        return int(self.stack().get("http_port", self.http_port)) + 10

    def stack(self) -> dict[str, Any]:
        """What `barecount up` wrote about the running stack; empty when there is none."""
        try:
            found = json.loads((self.data_dir / "stack.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _scram(bootstrap: str, username: str, password: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": username,
        "sasl_plain_password": password,
    }
