"""`python -m tests.support.examples DATA_DIR`: takes one real record of each type from a running stack's log into contracts/examples/.

Only missing files are written; a published example stays. Long bodies stay whole: an example is a record as it stands in the log.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from barecount_contracts import catalogue

from tests.support.judge import read_topic

EXAMPLES = Path(__file__).resolve().parents[2] / "contracts" / "examples"


def main(data_dir: Path) -> int:
    client = admin(data_dir)
    EXAMPLES.mkdir(exist_ok=True)
    for topic in catalogue().topics.values():
        for _, record in sorted(read_topic(client, topic.name).records.items()):
            if "raw" in record:
                continue
            name = f"{record['type']}.v{record.get('version', 1)}"
            file = EXAMPLES / f"{name}.json"
            if name in topic.payloads and not file.exists():
                file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
                sys.stdout.write(f"recorded {name}\n")
    listed = {name for topic in catalogue().topics.values() for name in topic.payloads}
    missing = sorted(name for name in listed if not (EXAMPLES / f"{name}.json").exists())
    sys.stdout.write(f"without an example: {', '.join(missing) or 'none'}\n")
    return 0


def admin(data_dir: Path) -> dict[str, str]:
    """confluent-kafka settings of the embedded broker's admin."""
    stack = json.loads((data_dir / "stack.json").read_text())
    password = json.loads((data_dir / "passwords.json").read_text())["kafka"]["admin"]
    return {
        "bootstrap.servers": f"127.0.0.1:{stack['ports']['kafka']}",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "admin",
        "sasl.password": password,
    }


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
