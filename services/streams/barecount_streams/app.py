"""Builds the streams service, and is the only place that does."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from barecount_chassis import Settings, SettingsError, create_app, serve
from barecount_eventlog import Appender, KafkaSettings
from barecount_readmodel import token_secret
from fastapi import FastAPI

from . import dashboard, http
from .desk import Desk
from .domain.cursor import Cursors
from .handler import ChangeWriter
from .hub import Hub
from .session import Pace
from .settings import StreamSettings


def build(settings: Settings) -> FastAPI:
    """The app; nothing is connected before its lifespan begins."""
    own = settings if isinstance(settings, StreamSettings) else StreamSettings.load(**settings.model_dump())
    kafka = KafkaSettings(**own.kafka())  # type: ignore[arg-type]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            hub = Hub(kafka, records=own.stream_buffer_records, size=own.stream_buffer_bytes, catch_ups=own.stream_catch_ups)
            await hub.start()
            stack.push_async_callback(hub.stop)
            pace = Pace(own.stream_heartbeat_seconds, own.stream_slow_seconds)
            app.state.desk = Desk(hub, Cursors(token_secret(own.keys)), pace, own.stream_limit, app.state.stopping)
            app.state.health.add("hub", hub)
            if own.stream_derives:
                writer = ChangeWriter(kafka)
                await writer.start()
                stack.push_async_callback(writer.stop)
                app.state.health.add("writer", writer.deriver)
            yield

    return create_app(
        own,
        service="streams",
        title="barecount streams",
        description="State changes as they happen: server-sent events, WebSocket, the dashboard.",
        routers=[http.router, dashboard.routes()],
        pages=("/", "/ui", "/ui/"),
        appender=Appender(kafka, "streams.api"),
        lifespan=lifespan,
    )


def main() -> None:
    try:
        settings = StreamSettings.load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    serve(build, settings)


if __name__ == "__main__":
    main()
