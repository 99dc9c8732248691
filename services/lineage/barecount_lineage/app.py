"""Builds the lineage service, and is the only place that does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from barecount_chassis import Settings, create_app, serve
from barecount_eventlog import Appender, KafkaSettings
from barecount_readmodel import UNASKABLE, UNREACHABLE, Database, PostgresSnapshots, token_secret
from fastapi import FastAPI

from . import http
from .handler import LineageWriter
from .projection import projector


def build(settings: Settings) -> FastAPI:
    """The app; nothing is connected before its lifespan begins."""
    kafka = KafkaSettings(**settings.kafka())  # type: ignore[arg-type]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            database = await Database.open(settings.need("database_url"), service="lineage")
            stack.push_async_callback(database.close)
            rows = projector(kafka, database)
            await rows.start()
            stack.push_async_callback(rows.stop)
            writer = LineageWriter(kafka, snapshots=PostgresSnapshots(database))
            app.state.parts = http.Parts(database, rows, token_secret(settings.keys))
            await writer.start()
            stack.push_async_callback(writer.stop)
            for name, part in (("projector", rows), ("writer", writer.deriver)):
                app.state.health.add(name, part)
            yield

    return create_app(
        settings,
        service="lineage",
        title="barecount lineage",
        description="OpenLineage events and the graph over them.",
        routers=[http.router],
        appender=Appender(kafka, "lineage.api"),
        unaskable=UNASKABLE,
        unreachable=UNREACHABLE,
        lifespan=lifespan,
    )


def main() -> None:
    serve(build)


if __name__ == "__main__":
    main()
