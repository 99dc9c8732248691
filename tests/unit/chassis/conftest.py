"""An installation's keys, tokens for it, and an app in the frame, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import structlog
from barecount_chassis import Caller, Settings, create_app, create_keypair, issue_token, require, streams
from barecount_contracts import Envelope, Position
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel


class RecordingAppender:
    """An `Appends` that keeps what it is given. `hang` keeps it from ever acknowledging, `fail` makes it raise."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, Envelope]] = []
        self.hang = False
        self.fail: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def append(self, topic: str, key: str, envelope: Envelope) -> Position:
        if self.fail:
            raise self.fail
        if self.hang:
            await asyncio.Event().wait()
        if self.gate:
            await self.gate.wait()
        self.records.append((topic, key, envelope))
        return Position(topic=topic, partition=0, offset=len(self.records) - 1)

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [envelope.data for topic, _, envelope in self.records if topic == "api.calls"]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("issuer", "command", "execution", "worker"):
        create_keypair(folder, name)
    return folder


@pytest.fixture
def settings(keys: Path) -> Settings:
    return Settings(service="command", kafka_bootstrap="localhost:1", keys_dir=keys)


@pytest.fixture(scope="session", autouse=True)
def traced() -> None:
    """Spans and JSON logs as in a running service, without an exporter."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)])
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())


Token = Callable[..., str]


@pytest.fixture
def token(keys: Path) -> Token:
    def make(*roles: str, tenant: str = "acme", subject: str = "ann@acme.example", ttl: float = 600, **other: str) -> str:
        pem = (keys / "issuer.pem").read_bytes()
        made = issue_token(pem, subject=subject, tenant=tenant, roles=roles or ("operator",), ttl=timedelta(seconds=ttl), **other)
        return f"Bearer {made}"

    return make


@pytest.fixture
def appender() -> RecordingAppender:
    return RecordingAppender()


class Body(BaseModel):
    name: str
    size: int


def routes() -> APIRouter:
    router = APIRouter()

    @router.get("/things/{thing}")
    async def read(thing: str, caller: Annotated[Caller, require("runs:read")]) -> dict[str, str]:
        return {"thing": thing, "tenant": caller.tenant}

    @router.post("/things", status_code=202)
    async def write(body: Body, caller: Annotated[Caller, require("runs:start")]) -> dict[str, str]:
        return {"name": body.name}

    @router.get("/bug")
    async def bug(caller: Annotated[Caller, require("runs:read")]) -> None:
        raise RuntimeError("secret inside")

    @router.get("/stream")
    async def stream(request: Request, caller: Annotated[Caller, require("runs:read")]) -> StreamingResponse:
        await streams(request)

        async def lines() -> AsyncIterator[bytes]:
            yield b"one\n"
            yield b"two\n"

        return StreamingResponse(lines(), media_type="text/plain")

    return router


@pytest.fixture
def app(settings: Settings, appender: RecordingAppender) -> FastAPI:
    return create_app(settings, title="Test", routers=[routes()], appender=appender)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app) as found:
        yield found


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client
