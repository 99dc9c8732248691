"""Fetches Kafka's jars and runs a throw-away broker once, so that every later start takes a third of the time.

`python -m barecount_local.training`, the last step of `make install`; it does nothing when the cache is there. The JVM writes its
ahead-of-time cache (JEP 514) when the broker ends, which takes some seconds: nobody should wait for that at `make down`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from .errors import StackError
from .kafka import SUPER_USER, KafkaServer, ahead_of_time_cache
from .passwords import Passwords
from .ports import free_ports
from .provision import provision

SECONDS = 300


def train() -> bool:
    """Makes the cache. Returns False when it was there. Raises StackError."""
    cache = ahead_of_time_cache()
    if cache.exists():
        return False
    cache.parent.mkdir(parents=True, exist_ok=True)
    fresh = cache.with_name(f"{cache.name}.{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix="barecount-training-") as name:
        folder = Path(name)
        passwords = Passwords.of(folder)
        port, controller_port = free_ports(2)
        server = KafkaServer(
            folder / "kafka",
            port=port,
            controller_port=controller_port,
            passwords=passwords.kafka,
            log=folder / "kafka.log",
            training=fresh,
        )
        try:
            server.start()
            # what a stack does first: users log in, topics and permissions are made
            provision(
                {
                    "bootstrap.servers": server.bootstrap,
                    "security.protocol": "SASL_PLAINTEXT",
                    "sasl.mechanism": "SCRAM-SHA-256",
                    "sasl.username": SUPER_USER,
                    "sasl.password": passwords.kafka[SUPER_USER],
                },
                None,
                passwords.kafka,
                {},
            )
        finally:
            server.stop(SECONDS)
        if not fresh.exists():
            raise StackError(f"Java wrote no ahead-of-time cache:\n{server.log.read_text()[-2000:]}")
        fresh.replace(cache)
    return True


if __name__ == "__main__":
    try:
        train()
    except StackError as error:
        # a slower start is no reason not to install; what is missing is said again by `barecount up`
        sys.stderr.write(f"Kafka was not prepared, its starts will take longer: {error}\n")
