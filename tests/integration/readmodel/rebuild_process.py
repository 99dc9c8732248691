"""A rebuild in a process of its own that kills itself with SIGKILL at a named point.

`python -m … POINT URL BOOTSTRAP USER WORD SERVICE TOPIC`.

POINT: a step of the report, or `held` (the live projector waits), or `renamed` (between the renames of the swap), or `never`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from barecount_eventlog import KafkaSettings
from barecount_readmodel import Rebuild, swap
from barecount_readmodel.view import Connection

from tests.integration.readmodel.kit import NumbersView

_drop = swap.drop


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(point: str, url: str, bootstrap: str, username: str, password: str, service: str, topic: str) -> None:
    def report(said: Mapping[str, Any]) -> None:
        if said["step"] == point:
            die()

    async def held(conn: Connection) -> None:
        die()

    async def renamed(conn: Connection, schema: str) -> None:
        die()

    if point == "held":
        swap._older_queries_end = held  # type: ignore[assignment]
    if point == "renamed":
        # swap drops the older model between its renames
        swap.drop = renamed  # type: ignore[assignment]
    await Rebuild(KafkaSettings(bootstrap, username, password), url, service, [NumbersView(topic)], report).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
