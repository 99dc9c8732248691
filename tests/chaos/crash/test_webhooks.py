"""The webhooks service killed and frozen at the await points of its relay. The judges are the receiver and the log."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from barecount_contracts import Envelope, WebhookCreated
from barecount_eventlog import Appender
from barecount_webhooks.settings import WebhooksSettings

from tests.chaos.crash.choice import SEEDS, Scouted, faults_of, repeat
from tests.chaos.crash.harness import Nursery, race
from tests.integration.webhooks.kit import Answer, Receiver, change, eventually, publish, receiving
from tests.support.judge import read_topic
from tests.support.servers import Kafka, Postgres
from tests.support.service import appending, settings

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture(scope="module")
async def given(furnished_kafka: Kafka, postgres: Postgres, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    await postgres.furnish()
    told = settings(
        WebhooksSettings, "webhooks", furnished_kafka, postgres, Path(tmp_path_factory.mktemp("webhooks")),
        webhook_private_targets=f"127.0.0.1:{receiver.port}", webhook_retry_seconds=",".join(["0.2"] * 30), webhook_deadline_seconds=5,
    )  # fmt: skip
    secrets = {name: told.need(name) for name in ("kafka_password", "database_url")}
    return {"settings": told.model_dump(mode="json") | secrets}


@pytest.fixture(scope="module")
async def speaking(furnished_kafka: Kafka) -> AsyncIterator[tuple[Appender, Appender]]:
    """As streams and as command."""
    async with appending(furnished_kafka, "streams") as streams, appending(furnished_kafka, "command") as command:
        yield streams, command


class Sent:
    """One tenant, one endpoint, and the events that go there."""

    def __init__(self, name: str, receiver: Receiver, speaking: tuple[Appender, Appender]) -> None:
        self.tenant, self.path = f"crash-{name}", f"/{name}"
        self.endpoint, self.ids = f"wh_{uuid4().hex}", list[str]()
        self._receiver, (self._streams, self._command) = receiver, speaking

    async def subscribe(self) -> None:
        """The endpoint as the command service would say it; every fourth call fails."""
        self._receiver.plan[self.path] = [Answer(503) if number % 4 == 3 else Answer() for number in range(2000)]
        made = WebhookCreated(endpoint_id=self.endpoint, url=self._receiver.url(self.path), event_types=("*",))
        told = Envelope(id=uuid4(), type=made.TYPE, tenant=self.tenant, time=datetime.now(UTC), correlation=uuid4(), data=made.to_data())
        await self._command.append("control.events", self.tenant, told)

    @asynccontextmanager
    async def feeding(self) -> AsyncIterator[None]:
        ended = asyncio.Event()

        async def feed() -> None:
            # never cancelled: an event may stand in the log whose publisher was
            while not ended.is_set():
                self.ids.append((await publish(self._streams, change(self.tenant, f"run-{len(self.ids)}"))).id)
                await asyncio.sleep(0.03)  # the load's rate: a fault must meet deliveries under way

        task = asyncio.create_task(feed())
        try:
            yield
        finally:
            ended.set()
            await task

    def seen(self) -> set[str]:
        return {one.id for one in self._receiver.at(self.path)}

    async def more(self, least: int = 8) -> None:
        """Until so many further events have come to the receiver."""
        goal = len(self.seen()) + least
        await eventually(lambda: len(self.seen()) >= goal, f"{least} more events at {self.path}", 40)


@pytest.fixture(scope="module")
async def scouted(nursery: Nursery, given: dict[str, Any], receiver: Receiver, speaking: tuple[Appender, Appender]) -> Scouted:
    if SEEDS == 1:
        return []
    found, sent = Scouted(), Sent("scout", receiver, speaking)
    await sent.subscribe()
    async with sent.feeding():
        for _ in range(2):
            scout = await nursery.ready("webhooks", given)
            await sent.more(30)
            found.append(await scout.points())
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_relay_that_ends_anywhere_leaves_no_event_untaken_and_no_attempt_without_a_word(
    nursery: Nursery, furnished_kafka: Kafka, given: dict[str, Any], receiver: Receiver, speaking: tuple[Appender, Appender],
    scouted: Scouted, seed: int,
) -> None:  # fmt: skip
    faults, sent = faults_of(nursery.choice("webhooks"), seed, scouted, few=1), Sent(f"seed-{seed}", receiver, speaking)
    told = repeat("webhooks", seed, faults)
    await sent.subscribe()
    async with sent.feeding():
        last, frozen = await race(nursery, "webhooks", given, faults, sent.more, meet=15)
    await eventually(lambda: sent.seen() == set(sent.ids), f"every event at the receiver; {told}", 45)
    said = await settled(furnished_kafka, sent, told)
    for process in [last, *frozen]:
        await process.kill()
    judged(said, receiver, sent, told)


async def settled(kafka: Kafka, sent: Sent, told: str) -> list[dict[str, Any]]:
    """What the log says of the endpoint, once each event was taken and no attempt is open whose event is not."""
    deadline, open_, taken = time.monotonic() + 45, set[Any](), set[str]()
    while time.monotonic() < deadline:
        log = await asyncio.to_thread(read_topic, kafka.librdkafka(), "webhooks.attempts")
        said = [one for _, one in sorted(log.records.items()) if one.get("data", {}).get("endpoint_id") == sent.endpoint]
        taken = {one["data"]["event_id"] for one in said if one["type"] == "WebhookAttemptSucceeded"}
        begun, ended = [{(one["data"]["event_id"], one["data"]["attempt"]) for one in said if of(one, word)} for word in "SE"]
        open_ = {(event, attempt) for event, attempt in begun - ended if event not in taken}
        if taken == set(sent.ids) and not open_:
            return said
        await asyncio.sleep(0.3)  # the log is read whole each time
    raise AssertionError(f"open attempts {open_}, not taken {set(sent.ids) - taken}; {told}")


def of(one: dict[str, Any], word: str) -> bool:
    return (one["type"] == "WebhookAttemptStarted") == (word == "S")


def judged(said: list[dict[str, Any]], receiver: Receiver, sent: Sent, told: str) -> None:
    got = receiver.at(sent.path)
    assert len({(one.id, one.body) for one in got}) == len(sent.ids), f"an event came with two bodies; {told}"
    numbers, deliveries = defaultdict[str, set[int]](set), defaultdict[str, set[str]](set)
    started: Counter[str] = Counter()
    begun = set[tuple[str, int]]()
    for one in said:
        data = one["data"]
        deliveries[data["event_id"]].add(data["delivery_id"])
        if of(one, "S"):
            numbers[data["delivery_id"]].add(data["attempt"])
            started[data["event_id"]] += 1
            begun.add((data["delivery_id"], data["attempt"]))
        else:
            assert (data["delivery_id"], data["attempt"]) in begun, f"a result before its intent: {data}; {told}"
    assert all(seen == set(range(1, max(seen) + 1)) for seen in numbers.values()), f"attempts with a gap: {dict(numbers)}; {told}"
    assert all(len(found) == 1 for found in deliveries.values()), f"an event with two deliveries; {told}"
    calls = Counter(one.id for one in got)
    unsaid = {event: (count, started[event]) for event, count in calls.items() if count > started[event]}
    assert not unsaid, f"calls that no intent speaks of (event: calls, intents): {unsaid}; {told}"
    assert len(sent.ids) > 20, told
