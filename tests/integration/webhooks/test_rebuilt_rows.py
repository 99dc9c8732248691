"""The relay's rows do not depend on how its log falls into batches, nor on which of its topics is read first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from barecount_contracts import (
    Envelope,
    Message,
    Position,
    WebhookAttemptFailed,
    WebhookAttemptStarted,
    WebhookAttemptSucceeded,
    WebhookCreated,
    WebhookRedeliveryRequested,
)
from barecount_eventlog import Appender, KafkaSettings
from barecount_readmodel import Database, Projector, Rebuild, Token
from barecount_webhooks.projection import VIEWS

from tests.integration.readmodel.kit import fresh_service, service_database
from tests.integration.webhooks.kit import change
from tests.support.servers import Kafka, Postgres

TENANT = "rebuilt"


class Log:
    """Writes one tenant's story as the three services would."""

    def __init__(self, appender: Appender) -> None:
        self._appender, self.last = appender, list[Position]()
        self.endpoint = f"wh_{uuid4().hex}"

    async def says(self, topic: str, fact: Message) -> None:
        told = Envelope(
            id=uuid4(),
            type=fact.TYPE,
            tenant=TENANT,
            time=datetime.now(UTC),
            correlation=uuid4(),
            principal="service:x",
            data=fact.to_data(),
        )
        self.last.append(await self._appender.append(topic, TENANT, told))

    async def happens(self, run: str) -> str:
        event = change(TENANT, run)
        self.last.append(await self._appender.append_bytes("state.changes", TENANT, event.value(), event.headers()))
        return event.id

    async def attempt(self, event: str, number: int, *, begins: bool = True, error: str | None = None, ends: bool = True) -> None:
        known = {"endpoint_id": self.endpoint, "delivery_id": f"{self.endpoint}/{event}", "event_id": event, "event_type": "run.succeeded"}
        if begins:
            await self.says("webhooks.attempts", WebhookAttemptStarted(**known, attempt=number, host="h"))
        if ends and error is None:
            await self.says("webhooks.attempts", WebhookAttemptSucceeded(**known, attempt=number, status=200, duration_ms=1))
        elif ends:
            again = datetime.now(UTC) + timedelta(seconds=number)
            failed = WebhookAttemptFailed(
                **known, attempt=number, error_type=error, detail=f"no {number}", status=None, duration_ms=1, retry_at=again
            )
            await self.says("webhooks.attempts", failed)


async def test_topics_that_are_read_side_by_side_do_not_lock_each_other_out(kafka: Kafka, postgres: Postgres) -> None:
    """A rebuild reads events and attempts at once; both write the rows of a delivery, here in opposite orders."""
    kafka.furnish()
    login, service = kafka.settings("admin"), fresh_service()
    settings = KafkaSettings(kafka.bootstrap, "admin", login["sasl_plain_password"])
    url = await service_database(postgres, service=service)
    appender = Appender(settings, "test")
    await appender.start()
    try:
        log = Log(appender)
        await log.says("control.events", WebhookCreated(endpoint_id=log.endpoint, url="http://127.0.0.1:1/", event_types=("*",)))
        events = await asyncio.gather(*(log.happens(f"run-{number}") for number in range(300)))
        for number, error in ((1, "connection"), (2, None)):
            for event in sorted(events, reverse=number == 1):
                await log.attempt(event, number, error=error)
        done = await Rebuild(settings, url, service, VIEWS).prepare()
    finally:
        await appender.stop()
    assert done["step"] == "done"
    assert done["events"] > 0


async def test_a_rebuild_of_the_relay_s_rows_finds_no_difference(kafka: Kafka, postgres: Postgres) -> None:
    kafka.furnish()
    login, service = kafka.settings("admin"), fresh_service()
    settings = KafkaSettings(kafka.bootstrap, "admin", login["sasl_plain_password"])
    url = await service_database(postgres, service=service)
    appender = Appender(settings, "test")
    await appender.start()
    database = await Database.open(url, service=service)
    # record by record, as a log is projected that somebody is writing
    projector = Projector(kafka=settings, database=database, service=service, views=VIEWS, max_batch=1)
    await projector.start()
    try:
        log = Log(appender)
        await log.says("control.events", WebhookCreated(endpoint_id=log.endpoint, url="http://127.0.0.1:1/", event_types=("*",)))
        await projector.wait(Token.of(*log.last), 60)
        events = [await log.happens(f"run-{number}") for number in range(5)]
        await projector.wait(Token.of(*log.last), 60)
        taken, failing, left_open, zombie, asked = events
        await log.attempt(taken, 1)
        for number in (1, 2):
            await log.attempt(failing, number, error="connection")
        await log.attempt(failing, 3)
        await log.attempt(left_open, 1, ends=False)
        await log.attempt(left_open, 1, begins=False, error="interrupted")
        await log.attempt(left_open, 2, error="timeout")
        # a relay that woke late says the end of its attempt after its successor's next one has begun
        await log.attempt(zombie, 1, ends=False)
        await log.attempt(zombie, 1, begins=False, error="interrupted")
        await log.attempt(zombie, 2, ends=False)
        await log.attempt(zombie, 1, begins=False, error="timeout")
        await log.attempt(asked, 1)
        await log.says("control.events", WebhookRedeliveryRequested(endpoint_id=log.endpoint, event_id=asked))
        await projector.wait(Token.of(*log.last), 60)
        done = await Rebuild(settings, url, service, VIEWS).run()
    finally:
        await projector.stop()
        await database.close()
        await appender.stop()
    assert done["differences"] == []
    assert done["tables"]["deliveries"] >= len(events) + 1
