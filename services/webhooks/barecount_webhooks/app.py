"""Builds the webhooks service, and is the only place that does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from barecount_chassis import PrivateTargets, Settings, create_app, serve
from barecount_eventlog import Appender, KafkaSettings
from barecount_readmodel import UNASKABLE, UNREACHABLE, Database, token_secret
from fastapi import FastAPI

from . import http
from .adapters.sender import Sender
from .attempt import Attempts
from .projection import projector
from .relay import Relay
from .settings import WebhooksSettings, master_key, settings

CONNECTIONS = 6


def build(settings: Settings) -> FastAPI:
    """The app; nothing is connected before its lifespan begins. `settings` of another class are read again with this service's own."""
    own = settings if isinstance(settings, WebhooksSettings) else WebhooksSettings.load(**settings.model_dump())
    kafka = KafkaSettings(**own.kafka())  # type: ignore[arg-type]
    appender = Appender(kafka, "webhooks.attempts")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        master = master_key(own.keys)
        async with AsyncExitStack() as stack:
            # one connection more than the projector's: the relay keeps one for its lock
            database = await Database.open(own.need("database_url"), service="webhooks", connections=CONNECTIONS)
            stack.push_async_callback(database.close)
            rows = projector(kafka, database)
            await rows.start()
            stack.push_async_callback(rows.stop)
            sender = Sender(PrivateTargets.parse(own.webhook_private_targets), deadline=own.webhook_deadline_seconds)
            stack.push_async_callback(sender.close)
            await appender.start()
            stack.push_async_callback(appender.stop)
            attempts = Attempts(sender, appender, master, own.schedule, own.give_up_after)
            relay = Relay(kafka, database, rows, attempts, most=own.webhook_most_in_flight)
            app.state.parts = http.Parts(database, rows, relay, token_secret(own.keys), master)
            await relay.start()
            stack.push_async_callback(relay.stop)
            for name, part in (("projector", rows), ("relay", relay)):
                app.state.health.add(name, part)
            yield

    return create_app(
        own,
        service="webhooks",
        title="barecount webhooks",
        description="Delivers state changes to the endpoints of tenants: signed, retried, recorded.",
        routers=[http.router],
        appender=Appender(kafka, "webhooks.api"),
        unaskable=UNASKABLE,
        unreachable=UNREACHABLE,
        lifespan=lifespan,
    )


def main() -> None:
    serve(build, settings())


if __name__ == "__main__":
    main()
