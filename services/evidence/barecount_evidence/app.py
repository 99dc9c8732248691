"""Builds the evidence service, and is the only place that does."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from barecount_chassis import Settings, SettingsError, create_app, serve
from barecount_eventlog import Appender, KafkaSettings
from barecount_readmodel import UNASKABLE, UNREACHABLE, Database, token_secret
from barecount_transparency import KeyFormatError, SigningKey
from fastapi import FastAPI

from . import http
from .handler import LEDGER, LedgerWriter
from .mirror import Mirror
from .projection import projector
from .settings import EvidenceSettings

KEY_FILE = "ledger.private.pem"


def build(settings: Settings) -> FastAPI:
    """The app; nothing is connected before its lifespan begins. `settings` of another class are read again with this service's own."""
    own = settings if isinstance(settings, EvidenceSettings) else EvidenceSettings.load(**settings.model_dump())
    kafka = KafkaSettings(**own.kafka())  # type: ignore[arg-type]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        key = signing_key(own.keys, own.ledger_origin)
        async with AsyncExitStack() as stack:
            database = await Database.open(own.need("database_url"), service="evidence")
            stack.push_async_callback(database.close)
            rows = projector(kafka, database)
            await rows.start()
            stack.push_async_callback(rows.stop)
            mirror = Mirror(kafka, LEDGER, origin=own.ledger_origin, key=key.verifying_key)
            await mirror.start()
            stack.push_async_callback(mirror.stop)
            writer = LedgerWriter(kafka, mirror, key, linger=own.ledger_linger_ms / 1000)
            parts = http.Parts(mirror, database, rows, key.verifying_key, token_secret(own.keys))
            await stack.enter_async_context(http.serving(parts, app.state))
            await writer.start()
            stack.push_async_callback(writer.stop)
            for name, part in (("projector", rows), ("ledger", mirror), ("writer", writer.deriver)):
                app.state.health.add(name, part)
            yield

    return create_app(
        own,
        service="evidence",
        title="barecount evidence",
        description="The ledger: one record for everything that happened, proven.",
        routers=[http.router],
        appender=Appender(kafka, "evidence.api"),
        unaskable=UNASKABLE,
        unreachable=UNREACHABLE,
        lifespan=lifespan,
    )


def signing_key(folder: Path, origin: str) -> SigningKey:
    """The ledger's key; only this service reads it. Raises: SettingsError naming the file."""
    path = folder / KEY_FILE
    try:
        return SigningKey.from_pem(origin, path.read_bytes())
    except (OSError, KeyFormatError) as error:
        raise SettingsError(f"{path} is not the ledger's private key: BARECOUNT_KEYS_DIR must hold it for this service") from error


def main() -> None:
    try:
        settings = EvidenceSettings.load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    serve(build, settings)


if __name__ == "__main__":
    main()
