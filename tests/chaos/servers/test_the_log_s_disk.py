"""The broker's disk fills: each command still has one outcome, and what was acknowledged is there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from barecount_eventlog import Appender, AppendFailed, KafkaSettings
from barecount_local.kafka import KafkaServer
from barecount_local.passwords import Passwords
from barecount_local.ports import free_ports

from tests.chaos.servers.full_disk import full_disk, mounted, why_no_disk
from tests.integration.eventlog.counter import add
from tests.integration.eventlog.kit import Topics, create_topics, drained, eventually, handler_of
from tests.support.cluster import LEAN
from tests.support.servers import in_containers

# a broker of its own: `make chaos` alone
FULL = int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1")) > 1

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not FULL or in_containers(), reason="a broker of its own: run by make chaos, on embedded servers"),
]


@contextmanager
def broker_in(folder: Path, properties: Mapping[str, object] | None = None) -> Iterator[tuple[KafkaServer, KafkaSettings]]:
    passwords = Passwords.of(folder)
    port, controller = free_ports(2)
    server = KafkaServer(
        folder / "kafka",
        port=port,
        controller_port=controller,
        passwords=passwords.kafka,
        log=folder / "kafka.log",
        ends_with_parent=True,
        options=LEAN,
        properties=properties,
    )
    try:
        server.start()
        yield server, KafkaSettings(server.bootstrap, "admin", passwords.kafka["admin"])
    finally:
        server.kill()


async def topics_on(kafka: KafkaSettings) -> Topics:
    inbox, events = await create_topics(kafka, "inbox", "events")
    topics = Topics(kafka, inbox, events, Appender(kafka, "test"))
    await topics.appender.start()
    return topics


@pytest.mark.skipif(why_no_disk() is not None, reason=why_no_disk() or "")
async def test_a_full_disk_ends_the_broker_and_with_room_everything_that_was_acknowledged_is_there() -> None:
    with mounted(120) as disk, broker_in(disk) as (server, kafka):
        topics = await topics_on(kafka)
        handler = handler_of(topics)
        await handler.start()
        acknowledged = 0

        async def write() -> None:
            nonlocal acknowledged
            while True:
                await topics.appender.append(topics.inbox, "acme", add(1), timeout=5)
                # rubbish that does not compress: refused, and an outcome too
                await topics.appender.append_bytes(topics.inbox, b"acme", os.urandom(500_000), timeout=5)
                acknowledged += 2

        with full_disk(disk, leave=6_000_000), pytest.raises(AppendFailed):
            await write()
        child = server.child
        assert child is not None
        await eventually(lambda: not child.alive(), 60)
        # its last words need room too, and may be missing: `barecount status` looks at the disk itself
        assert acknowledged > 2
        await asyncio.to_thread(server.start)
        last = None
        async with asyncio.timeout(60):
            while last is None:
                try:
                    last = await topics.appender.append(topics.inbox, "acme", add(1, key="last"), timeout=5)
                except AppendFailed:
                    continue
        await drained(handler, topics, 60)
        at = [event.envelope.cause.offset for event in await topics.outcomes() if event.envelope.cause]
        assert at == list(range(last.offset + 1)), "one outcome each, none missing"
        assert last.offset >= acknowledged
        assert handler.ready
        await handler.stop()
        await topics.appender.stop()
