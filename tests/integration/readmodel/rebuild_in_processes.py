"""A rebuild divided between two processes, of which the other one waits: `python -m … FOLDER URL BOOTSTRAP USER WORD SERVICE TOPIC`."""

from __future__ import annotations

import asyncio
import sys

from barecount_eventlog import KafkaSettings
from barecount_readmodel import Rebuild

from tests.integration.readmodel.kit import MetView


async def main(folder: str, url: str, bootstrap: str, username: str, password: str, service: str, topic: str) -> None:
    await Rebuild(KafkaSettings(bootstrap, username, password), url, service, [MetView(folder, topic)], processes=2, spread=1).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
