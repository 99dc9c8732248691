"""The webhooks service as a process that a test may kill: `python -m tests.chaos.webhooks.relay_process <json of its settings>`."""

from __future__ import annotations

import asyncio
import json
import sys

from barecount_webhooks.app import build
from barecount_webhooks.settings import WebhooksSettings


async def run() -> None:
    app = build(WebhooksSettings(**json.loads(sys.argv[1])))
    async with app.router.lifespan_context(app):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run())
