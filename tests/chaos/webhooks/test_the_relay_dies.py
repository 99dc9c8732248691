"""A relay that is killed between its word and the receiver's loses nothing: the next one sends again, under the same id."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from barecount_contracts import Envelope, WebhookCreated
from barecount_eventlog import KafkaSettings, Recorded, read_all
from barecount_webhooks.settings import WebhooksSettings

from tests.integration.webhooks.kit import Answer, Receiver, change, eventually, publish, receiving
from tests.support.forks import PIPE, Forked, forked
from tests.support.servers import Kafka, Postgres, kafka_server, postgres_server
from tests.support.service import appending, settings

pytestmark = pytest.mark.chaos
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[Kafka]:
    with kafka_server() as broker:
        broker.furnish()
        yield broker


@pytest.fixture(scope="module")
async def own_postgres() -> AsyncIterator[Postgres]:
    with postgres_server() as server:
        await server.furnish()
        yield server


class Relays:
    """Processes of the relay, one after the other."""

    def __init__(self, given: dict[str, Any], log: Path) -> None:
        self._given, self._log, self._all = json.dumps(given), log, list[Forked]()

    async def start(self) -> Forked:
        with self._log.open("ab") as log:
            process = await forked("tests.chaos.webhooks.relay_process", self._given, stdout=PIPE, stderr=log)
        self._all.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while b"ready" not in (line := await process.stdout.readline()):
                assert line, self._log.read_text()[-3000:]
        # logs go to stdout: nobody may wait for them
        self._draining = asyncio.create_task(_drain(process.stdout))
        return process

    async def kill(self, process: Forked) -> None:
        process.kill()
        await process.wait()

    async def end(self) -> None:
        for process in self._all:
            if process.returncode is None:
                await self.kill(process)


@pytest.fixture
async def relays(own_kafka: Kafka, own_postgres: Postgres, own_receiver: Receiver, tmp_path: Path) -> AsyncIterator[Relays]:
    told = settings(
        WebhooksSettings, "webhooks", own_kafka, own_postgres, tmp_path,
        webhook_private_targets=f"127.0.0.1:{own_receiver.port}", webhook_retry_seconds=",".join(["0.2"] * 30), webhook_deadline_seconds=5,
    )  # fmt: skip
    given = told.model_dump(mode="json") | {name: told.need(name) for name in ("kafka_password", "database_url")}
    found = Relays(given, tmp_path / "relay.log")
    yield found
    await found.end()


@pytest.fixture
async def own_receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def test_an_event_whose_answer_nobody_wrote_is_sent_again_under_the_same_id(
    relays: Relays, own_kafka: Kafka, own_receiver: Receiver
) -> None:
    held = asyncio.Event()
    own_receiver.plan["/killed"] = [Answer(hold=held)]
    async with appending(own_kafka, "streams") as streams, appending(own_kafka, "command") as command:
        first = await relays.start()
        endpoint = await created(command, "c-one", own_receiver.url("/killed"))
        event = await publish(streams, change("c-one", "run-1"))
        await own_receiver.waits_for("/killed", 1)
        await relays.kill(first)
        await relays.start()
        got = await own_receiver.waits_for("/killed", 2)
        held.set()
    assert {one.id for one in got} == {event.id}
    said = [(r.envelope.type, r.whole().data["attempt"], r.whole().data.get("error_type")) for r in await attempts(own_kafka, endpoint, 4)]
    assert said == [
        ("WebhookAttemptStarted", 1, None),
        ("WebhookAttemptFailed", 1, "interrupted"),
        ("WebhookAttemptStarted", 2, None),
        ("WebhookAttemptSucceeded", 2, None),
    ]


async def test_whenever_the_relay_is_killed_every_event_is_taken(relays: Relays, own_kafka: Kafka, own_receiver: Receiver) -> None:
    """Seeded kills while events flow and the receiver fails now and then. The receiver is the judge."""
    dice = random.Random(7)
    own_receiver.plan["/storm"] = [Answer(503) if dice.random() < 0.3 else Answer() for _ in range(200)]
    async with appending(own_kafka, "streams") as streams, appending(own_kafka, "command") as command:
        running = await relays.start()
        endpoint = await created(command, "c-storm", own_receiver.url("/storm"))
        sent = []
        for kill in range(4):
            sent += [(await publish(streams, change("c-storm", f"run-{kill}-{n}"))).id for n in range(25)]
            seen = len(own_receiver.at("/storm"))
            await own_receiver.waits_for("/storm", seen + dice.randint(1, 15))
            await relays.kill(running)
            running = await relays.start()
        await eventually(lambda: {one.id for one in own_receiver.at("/storm")} == set(sent), "every event at the receiver", 60)
        taken: set[str] = set()
        async with asyncio.timeout(60):
            while taken != set(sent):
                found = [record.whole() for record in await attempts(own_kafka, endpoint, 0)]
                taken = {one.data["event_id"] for one in found if one.type == "WebhookAttemptSucceeded"}
    # one body an id, whichever attempt it was
    assert len({(one.id, one.body) for one in own_receiver.at("/storm")}) == len(sent)
    numbers: dict[str, list[int]] = {}
    for one in found:
        if one.type == "WebhookAttemptStarted":
            numbers.setdefault(one.data["delivery_id"], []).append(one.data["attempt"])
    # the count goes on over every kill
    assert all(sorted(set(seen)) == list(range(1, max(seen) + 1)) for seen in numbers.values())


async def test_of_two_relays_one_delivers_and_the_other_goes_on_when_it_dies(
    relays: Relays, own_kafka: Kafka, own_receiver: Receiver
) -> None:
    async with appending(own_kafka, "streams") as streams, appending(own_kafka, "command") as command:
        first = await relays.start()
        await relays.start()
        endpoint = await created(command, "c-two", own_receiver.url("/two"))
        sent = [(await publish(streams, change("c-two", f"run-{n}"))).id for n in range(30)]
        await own_receiver.waits_for("/two", len(sent))
        await attempts(own_kafka, endpoint, 2 * len(sent))
        await relays.kill(first)
        sent += [(await publish(streams, change("c-two", f"run-{n}"))).id for n in range(30, 35)]
        await own_receiver.waits_for("/two", len(sent))
        said = [record.whole() for record in await attempts(own_kafka, endpoint, 2 * len(sent))]
    assert Counter(one.id for one in own_receiver.at("/two")) == Counter(sent), "each event was sent once"
    assert Counter(one.data["event_id"] for one in said if one.type == "WebhookAttemptStarted") == Counter(sent)


async def created(command: Any, tenant: str, url: str) -> str:
    """The endpoint as the command service would say it."""
    made = WebhookCreated(endpoint_id=f"wh_{uuid4().hex}", url=url, event_types=("*",))
    event = Envelope(id=uuid4(), type=made.TYPE, tenant=tenant, time=datetime.now(UTC), correlation=uuid4(), data=made.to_data())
    await command.append("control.events", tenant, event)
    return made.endpoint_id


async def attempts(kafka: Kafka, endpoint: str, least: int) -> list[Recorded]:
    """What the log says of an endpoint's attempts, once there are so many."""
    given = kafka.settings("admin")
    where = KafkaSettings(given["bootstrap_servers"], given["sasl_plain_username"], given["sasl_plain_password"])
    async with asyncio.timeout(30):
        while True:
            found = [
                record
                async for batch in read_all(where, "webhooks.attempts")
                for record in batch.records
                if record.whole().data.get("endpoint_id") == endpoint
            ]
            if len(found) >= least:
                return found


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass
