"""What a worker and the process of a slot say to each other: one JSON object a line, its kind under `is`.

worker -> slot   {"is": "order", "envelope": …}          do this attempt (the RunTask record as it stands in the log)
                 {"is": "stop", "nonce", "reason"}       stop it
slot -> worker   {"is": "log", "level", "event", "fields"}
                 {"is": "dead", "error_type", "reason", "path", "line", "payload"}
                 {"is": "end", "nonce", "result": …, "failure": {"error_type", "message", "retriable"} | null, "bytes"}
                 `result` is the part of the final report that the work itself knows; `bytes` the process's memory
"""

from __future__ import annotations

import json
from typing import Any, Final

LONGEST_LINE: Final = 16 * 1024 * 1024
UNEXPECTED: Final = "unexpected-error"  # an exception that no stage foresees
RESULT_FIELDS: Final = ("metrics", "inputs", "outputs", "checks", "reconciliations", "publication")


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, default=str, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict) or "is" not in found:
        raise ValueError("not a message between a worker and its slot")
    return found
