"""PID 1 of the kafka image: prepares the broker exactly as the embedded stack does, then becomes it. `health` asks whether it answers,
`train FOLDER` (at the build) starts and stops a broker once and keeps what makes later starts quick.

Environment: BARECOUNT_KAFKA_ADVERTISED (host:port that clients are told, default kafka:9092), BARECOUNT_KAFKA_PORT (default 9092),
BARECOUNT_KAFKA_PASSWORDS (JSON, principal → password) or the same in $BARECOUNT_SECRETS_DIR/passwords.json under `kafka`.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from barecount_local.errors import StackError
from barecount_local.kafka import KafkaServer, ahead_of_time_cache, answers

DATA = Path("/data")
TRAINING_SECONDS = 600


def passwords() -> dict[str, str]:
    given = os.environ.pop("BARECOUNT_KAFKA_PASSWORDS", None)
    file = Path(os.environ.get("BARECOUNT_SECRETS_DIR", "/secrets")) / "passwords.json"
    if given is None and not file.exists():
        sys.exit(f"neither BARECOUNT_KAFKA_PASSWORDS nor {file} is there: run `init` first, or set the variable (JSON, at least `admin`)")
    found: dict[str, str] = json.loads(given) if given is not None else json.loads(file.read_text())["kafka"]
    return found


def main() -> None:
    port = int(os.environ.get("BARECOUNT_KAFKA_PORT", "9092"))
    if sys.argv[1:] == ["health"]:
        sys.exit(0 if answers(port) else 1)
    if sys.argv[1:2] == ["train"]:
        return train(Path(sys.argv[2]))
    server = KafkaServer(
        DATA,
        port=port,
        # the quorum's listener stays on the container's own loopback
        controller_port=port + 1,
        passwords=passwords(),
        log=DATA / "format.log",
        bind="0.0.0.0",
        advertised=os.environ.get("BARECOUNT_KAFKA_ADVERTISED", f"kafka:{port}"),
    )
    try:
        command = [str(part) for part in server.prepare()]
    except StackError as error:
        sys.exit(str(error))
    os.execv(command[0], command)


def train(folder: Path) -> None:
    folder.mkdir()
    with tempfile.TemporaryDirectory() as name:
        made = folder / ahead_of_time_cache().name
        server = KafkaServer(
            Path(name), port=9092, controller_port=9093, passwords={"admin": "training"}, log=Path(name) / "log", training=made
        )
        server.start()
        server.stop(TRAINING_SECONDS)
    if not made.exists():
        sys.exit(f"Java wrote no ahead-of-time cache into {folder}")


if __name__ == "__main__":
    main()
