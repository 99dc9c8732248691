"""A service's HTTP side: its routes in the frame that every service has."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from barecount_contracts import Envelope
from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from . import problems, telemetry
from .bus import Appends
from .calls import TOPIC, RecordedCalls
from .floods import Floods
from .health import Health
from .identity import Identity
from .permission import routes_in_threads, routes_without_permission
from .settings import Settings

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class RunningAppends(Appends, Protocol):
    """An Appender that is started and stopped with the app."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def create_app(
    settings: Settings,
    *,
    title: str,
    routers: Sequence[APIRouter],
    appender: RunningAppends,
    identity: Identity | None = None,
    lifespan: Lifespan | None = None,
    service: str | None = None,
    description: str = "",
    unaskable: Sequence[type[Exception]] = (),
    unreachable: Sequence[type[Exception]] = (),
    pages: Sequence[str] = (),
) -> FastAPI:
    """The app of one service: its routers, with identity, permission, problem documents, api.calls records, health and metrics.

    `lifespan(app)` runs the service's own parts: it is entered after the appender has started and left before it stops, and adds
    what readiness depends on to `app.state.health`. `unaskable` are the database's errors about values that it cannot hold (a number
    out of range, U+0000 in a text): such a request is answered `invalid-request`. `unreachable` are its errors when it is away: answered
    `service-unavailable`. `pages` are paths that hold no data and are read without a token and without a record (calls.is_page). A route
    that streams ends when `app.state.stopping` is set. Nothing here touches the network, so /openapi.json can be made offline.

    Raises: ValueError when a route asks for no permission, or would run in a thread.
    """
    name = service or settings.service
    identity = identity or Identity.of(settings)
    health = Health(name)

    async def append_call(envelope: Envelope) -> None:
        await appender.append(TOPIC, envelope.tenant, envelope)

    floods = Floods(append_call, service=name)

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        identity.check()
        async with AsyncExitStack() as stack:
            await appender.start()
            stack.push_async_callback(appender.stop)
            stack.push_async_callback(floods.flush)
            stack.callback(health.close)
            try:
                if lifespan is not None:
                    await stack.enter_async_context(lifespan(app))
            except Exception as error:
                app.state.start_failed = error
                raise
            yield

    app = FastAPI(
        title=title,
        description=description,
        version=importlib.metadata.version("barecount-chassis"),
        lifespan=run,
        docs_url=None,
        redoc_url=None,
        responses=_problem_responses(),
        # one span a call, ours: the framework's own would double each, and one for every step within
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.settings, app.state.health = settings, health
    app.state.start_failed = None
    app.state.pages, app.state.stopping = tuple(pages), asyncio.Event()
    problems.install(app, unaskable, unreachable)
    for router in routers:
        app.include_router(router)
    app.include_router(_operations(health))
    open_routes = routes_without_permission(app)
    if open_routes:
        raise ValueError(f"{name}: no permission on {', '.join(open_routes)}; add Depends with require(<action>)")
    in_threads = routes_in_threads(app)
    if in_threads:
        raise ValueError(f"{name}: {', '.join(in_threads)} would run in a thread; make the route and what it depends on async")
    app.add_middleware(RecordedCalls, service=name, identity=identity, appender=appender, floods=floods, pages=pages)
    return app


def openapi(app: FastAPI) -> dict[str, Any]:
    """The app's OpenAPI document; needs no Kafka, no database and no keys."""
    return app.openapi()


def _operations(health: Health) -> APIRouter:
    """What whoever runs the service asks: no token, no record."""
    router = APIRouter(include_in_schema=False)

    @router.get("/health/live")
    async def live() -> JSONResponse:
        alive = health.alive
        return JSONResponse({"alive": alive}, status_code=200 if alive else 503)

    @router.get("/health/ready")
    async def ready() -> JSONResponse:
        report = health.report()
        return JSONResponse(report, status_code=200 if report["ready"] else 503)

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(telemetry.REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return router


def _problem_responses() -> dict[int | str, dict[str, Any]]:
    body = {"content": {problems.MEDIA_TYPE: {"schema": problems.SCHEMA}}}
    words = {
        401: "No valid token",
        403: "The role does not allow this",
        404: "There is no such thing",
        422: "The request is not valid, or was refused",
        503: "Could not be recorded, or not reached; safe to try again",
    }
    return {status: {"description": text, **body} for status, text in words.items()}
