"""Builds the worker's process, and is the only place that does."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from uuid import uuid4

from barecount_chassis import CommandBus, Keyring, Settings, SettingsError, create_app, serve
from barecount_eventlog import Appender, KafkaSettings
from fastapi import FastAPI

from .reports import Reports
from .settings import WorkerSettings
from .slots import Slots
from .worker import Worker

SERVICE = "worker"


def build(settings: Settings) -> FastAPI:
    """The app: health and metrics, and the worker beside them. Nothing runs before the app is started."""
    told = settings if isinstance(settings, WorkerSettings) else WorkerSettings.load()
    appender = Appender(KafkaSettings(**told.kafka()), client_id=f"worker.{told.worker_id}")  # type: ignore[arg-type]

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        keyring = Keyring(told.keys, SERVICE)
        slots = Slots(told.slots, told.lake, told.slot_memory, told.slot_idle_seconds)
        worker = Worker(
            told,
            # a new one each life: tasks of the life before are nobody's
            incarnation=str(uuid4()),
            code_version=version("barecount-worker"),
            appender=appender,
            slots=slots,
            end=lambda: signal.raise_signal(signal.SIGTERM),
        )
        app.state.worker = worker
        bus = CommandBus(appender, keyring, inbox="runs.commands")
        app.state.health.add("tasks", worker)
        await worker.start(Reports(bus, pool=told.pool, principal=keyring.principal, recovered=worker.announce_soon))
        try:
            yield
        finally:
            # the appender stops after this, within the same deadline
            await worker.stop(told.stop_seconds * 0.7)

    return create_app(told, title="barecount worker", routers=[], appender=appender, lifespan=run, service=SERVICE)


def main() -> None:
    """Serves until SIGTERM. Exits with status 2 when the environment does not say what is needed, with 1 when it cannot go on."""
    try:
        settings = WorkerSettings.load()
        settings.identity, settings.lake  # noqa: B018
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    apps: list[FastAPI] = []

    def build_once(given: Settings) -> FastAPI:
        apps.append(build(given))
        return apps[0]

    serve(build_once, settings)
    if apps[0].state.worker.failed is not None:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
