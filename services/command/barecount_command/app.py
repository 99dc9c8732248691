"""Builds the command service, and is the only place that does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from barecount_chassis import CommandBus, Keyring, PrivateTargets, ProvingProcess, Settings, create_app, serve
from barecount_eventlog import Appender, KafkaSettings, Proof
from barecount_readmodel import UNASKABLE, UNREACHABLE, Database, PostgresSnapshots, token_secret
from fastapi import FastAPI

from .domain.replays import is_judged
from .handler import INBOX, command_handler
from .http import Desk, routers
from .policies import LedgerPolicy
from .projection import command_past, command_projector

SERVICE = "command"


def build(settings: Settings) -> FastAPI:
    """The app; nothing is connected before its lifespan starts."""
    kafka = KafkaSettings(**settings.kafka())  # type: ignore[arg-type]
    keyring = Keyring(settings.keys, SERVICE)
    appender = Appender(kafka, "command.http")
    bus = CommandBus(appender, keyring, inbox=INBOX)
    desk = Desk(bus=bus)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            desk.secret = token_secret(settings.keys)
            database = await Database.open(settings.need("database_url"), service=SERVICE)
            stack.push_async_callback(database.close)
            projector = command_projector(kafka, database, desk.recent)
            targets = PrivateTargets.parse(settings.webhook_private_targets)
            prover = ProvingProcess(settings.keys, SERVICE, Proof)
            stack.push_async_callback(prover.stop)
            handler = command_handler(kafka, keyring, PostgresSnapshots(database), targets, prover)
            policy = LedgerPolicy(kafka, bus, judged=lambda partition, *request: is_judged(handler.state(partition), *request))
            for name, part in (("projector", projector), ("handler", handler), ("ledger", policy)):
                app.state.health.add(name, part)
                stack.push_async_callback(part.stop)
                await part.start()
            desk.database, desk.projector, desk.past = database, projector, command_past(kafka, database, projector)
            yield

    return create_app(
        settings,
        service=SERVICE,
        title="barecount command",
        description="Admits every command: pipelines, contracts and schemas, runs, replays, decisions. Answers what became of each.",
        routers=routers(desk),
        appender=appender,
        unaskable=UNASKABLE,
        unreachable=UNREACHABLE,
        lifespan=lifespan,
    )


def main() -> None:
    serve(build)


if __name__ == "__main__":
    main()
