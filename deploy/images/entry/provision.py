"""`provision`: what Kafka and PostgreSQL must hold before services start, by the same code as the embedded stack.

Environment: BARECOUNT_KAFKA_BOOTSTRAP and BARECOUNT_POSTGRES_ADDRESS (host:port); the passwords are those that `init` made.
"""

import os
import sys
from pathlib import Path
from urllib.parse import quote

from barecount_local.errors import StackError
from barecount_local.passwords import Passwords
from barecount_local.provision import provision


def main() -> None:
    passwords = Passwords.of(Path(os.environ.get("BARECOUNT_SECRETS_DIR", "/secrets")))
    address = os.environ.get("BARECOUNT_POSTGRES_ADDRESS", "postgres:5432")
    try:
        provision(
            {
                "bootstrap.servers": os.environ.get("BARECOUNT_KAFKA_BOOTSTRAP", "kafka:9092"),
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "SCRAM-SHA-256",
                "sasl.username": "admin",
                "sasl.password": passwords.kafka["admin"],
            },
            f"postgresql://postgres:{quote(passwords.postgres['postgres'], safe='')}@{address}/postgres",
            passwords.kafka,
            {name: word for name, word in passwords.postgres.items() if name != "postgres"},
        )
    except StackError as error:
        sys.exit(str(error))
    sys.stdout.write("topics, permissions, users and databases are there\n")


if __name__ == "__main__":
    main()
