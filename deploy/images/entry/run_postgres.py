"""PID 1 of the postgres image: initialises an empty folder as the embedded stack does, then becomes the server. `health` asks it.

Environment: BARECOUNT_POSTGRES_PORT (default 5432), BARECOUNT_POSTGRES_PASSWORD (the superuser's) or the same in
$BARECOUNT_SECRETS_DIR/passwords.json under `postgres`.`postgres`. The image's stop signal is SIGINT: a fast shutdown.
"""

import json
import os
import sys
from pathlib import Path

from barecount_local.errors import StackError
from barecount_local.postgres import PostgresServer

DATA = Path("/data")


def password() -> str:
    given = os.environ.pop("BARECOUNT_POSTGRES_PASSWORD", None)
    file = Path(os.environ.get("BARECOUNT_SECRETS_DIR", "/secrets")) / "passwords.json"
    if given is None and not file.exists():
        sys.exit(f"neither BARECOUNT_POSTGRES_PASSWORD nor {file} is there: run `init` first, or set the variable")
    return given if given is not None else str(json.loads(file.read_text())["postgres"]["postgres"])


def main() -> None:
    port = int(os.environ.get("BARECOUNT_POSTGRES_PORT", "5432"))
    if sys.argv[1:] == ["health"]:
        sys.exit(0 if PostgresServer(DATA, port=port, password="", log=DATA / "server.log").answers() else 1)
    server = PostgresServer(DATA, port=port, password=password(), log=DATA / "initdb.log", bind="0.0.0.0")
    try:
        command = [str(part) for part in server.prepare()]
    except StackError as error:
        sys.exit(str(error))
    os.chdir(DATA)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
