"""Builds execution: its read model, its owner of runs, its policy and its HTTP, in one process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from barecount_chassis import CommandBus, Keyring, Settings, SettingsError, create_app, serve
from barecount_eventlog import Appender, KafkaSettings
from barecount_readmodel import UNASKABLE, UNREACHABLE, Database, PostgresSnapshots, token_secret
from fastapi import FastAPI

from .handler import INBOX, handler
from .http import routers
from .http.reading import Reading
from .policies import Admission, admission
from .projection import past, projector
from .settings import SERVICE, ExecutionSettings


def build(settings: Settings) -> FastAPI:
    """The app; nothing is connected before its lifespan starts, so that /openapi.json can be made offline."""
    own = settings if isinstance(settings, ExecutionSettings) else ExecutionSettings.model_construct(**settings.model_dump())
    kafka = KafkaSettings(**own.kafka())  # type: ignore[arg-type]
    appender = Appender(kafka, SERVICE)
    keyring = Keyring(own.keys, SERVICE)

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            database = await Database.open(own.need("database_url"), service=SERVICE)
            stack.push_async_callback(database.close)
            rows = projector(kafka, database)
            await rows.start()
            stack.push_async_callback(rows.stop)
            app.state.reading = Reading(database, rows, token_secret(own.keys), past(kafka, database, rows))
            owner = handler(kafka, keyring, PostgresSnapshots(database), lease_seconds=own.lease_seconds, snapshot_every=own.snapshot_every)
            await owner.start()
            stack.push_async_callback(owner.stop)
            policy = admission(own.kafka(), Admission(CommandBus(appender, keyring, inbox=INBOX), database, rows), own.instance)
            await policy.start()
            stack.push_async_callback(policy.stop)
            for name, part in (("projection", rows), ("handler", owner), ("admission", policy)):
                app.state.health.add(name, part)
            yield

    return create_app(
        own,
        title="barecount execution",
        description="Runs: where they stand, what they logged, counted and set aside.",
        routers=routers(),
        appender=appender,
        unaskable=UNASKABLE,
        unreachable=UNREACHABLE,
        lifespan=run,
        service=SERVICE,
    )


def main() -> None:
    try:
        settings = ExecutionSettings.load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    serve(build, settings)


if __name__ == "__main__":
    main()
