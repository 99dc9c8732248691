"""What a service is told by its environment: variables that begin with BARECOUNT_, read once, at start."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "BARECOUNT_"


class SettingsError(ValueError):
    """The environment does not say what the service needs. The message names every variable concerned."""


class Settings(BaseSettings):
    """The settings every service shares; a service with more subclasses this in its own settings.py."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    service: str = Field(description="Who this process is: a principal of contracts/topics.yaml")
    instance: str = Field(default="0", description="Tells replicas of one service apart; the same again after a restart")
    data_dir: Path = Field(default=Path(".barecount"), description="Where the installation keeps its files")
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535, description="0 lets the system choose; the log tells which")
    public_url: str = Field(default="http://127.0.0.1:8400", description="What links in answers begin with")
    kafka_bootstrap: str = Field(description="host:port[,host:port]")
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    database_url: SecretStr | None = None
    keys_dir: Path | None = Field(default=None, description="<name>.pem and <name>.public.pem; <data_dir>/keys when not set")
    edge_addresses: str = Field(
        default="127.0.0.1,::1", description="Who may say whose call it forwards: addresses or networks, comma-separated"
    )
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    otlp_endpoint: str | None = Field(default=None, description="Where traces go (OTLP over HTTP); without it they only mark the logs")
    issuer: str = Field(default="barecount-local", description="The `iss` that tokens must carry")
    audience: str = Field(default="barecount", description="The `aud` that tokens must carry")
    jwks_url: str | None = Field(default=None, description="An OIDC issuer's keys; without it keys_dir/issuer.public.pem")
    tenant_claim: str = "tenant"
    roles_claim: str = "roles"
    worker_id: str | None = None
    webhook_private_targets: str = Field(
        default="", description="Where webhooks may go beside public addresses: host:port or network[:port], separated by commas"
    )
    lake_dir: Path | None = None
    stop_seconds: float = Field(default=15.0, gt=0, description="How long a clean stop may take before the process ends anyway")

    @classmethod
    def load(cls, **given: Any) -> Self:
        """The environment's settings; what is given wins.

        Raises: SettingsError naming each variable that is missing or not valid.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            raise SettingsError(_explain(error)) from error

    @property
    def keys(self) -> Path:
        """The folder with the keys."""
        return self.keys_dir or self.data_dir / "keys"

    def kafka(self) -> dict[str, str | None]:
        """The keyword arguments of eventlog's KafkaSettings."""
        password = self.kafka_password.get_secret_value() if self.kafka_password else None
        return {"bootstrap": self.kafka_bootstrap, "username": self.kafka_username, "password": password}

    def need(self, name: str) -> str:
        """An optional setting that this service cannot do without, as text.

        Raises: SettingsError naming the variable.
        """
        value = getattr(self, name)
        if value is None or value == "":
            about = type(self).model_fields[name].description
            raise SettingsError(f"{PREFIX}{name.upper()} is not set and {self.service} needs it" + (f": {about}" if about else ""))
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    def unknown_variables(self, environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
        """BARECOUNT_ variables that no setting reads -> the nearest name that one does read. Most are misspelled."""
        known = {f"{PREFIX}{name.upper()}" for name in type(self).model_fields}
        found = sorted(name for name in (os.environ if environment is None else environment) if name.startswith(PREFIX))
        return {name: next(iter(difflib.get_close_matches(name, known, 1)), None) for name in found if name not in known}


def _explain(error: ValidationError) -> str:
    lines = []
    for one in error.errors():
        name = f"{PREFIX}{str(one['loc'][0] if one['loc'] else '').upper()}"
        # the value itself is not repeated: it may be a secret
        lines.append(f"{name} is not set" if one["type"] == "missing" else f"{name} is not valid: {one['msg']}")
    return "; ".join(lines)
