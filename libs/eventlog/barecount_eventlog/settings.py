"""Where the brokers are and who we are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class KafkaSettings:
    """bootstrap: `host:port[,host:port]`. With a username SASL_PLAINTEXT and SCRAM-SHA-256 are used, else PLAINTEXT."""

    bootstrap: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def client(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client."""
        if self.username is None:
            return {"bootstrap_servers": self.bootstrap}
        return {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
        }
