"""The process of a rebuild: `python -m barecount_<service>.rebuild`, in the service's own environment.

Standard output is one JSON object a line, as Rebuild reports it; the last one has step `done`, `rolled-back` or `failed`. Exit status 0, 1
when it failed, 2 when the environment does not say what is needed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from barecount_chassis import Settings, SettingsError, settle_collector
from barecount_eventlog import KafkaSettings, LogReplaced
from pydantic import Field

from .errors import RebuildError
from .rebuild import SPREAD, Rebuild
from .view import View


class RebuildSettings(Settings):
    rebuild_spread: int = Field(default=SPREAD, ge=1, description="Records from which a rebuild is divided among processes")


def rebuild_main(service: str, views: Sequence[View], arguments: Sequence[str] | None = None) -> None:
    """Never returns: exits with the status."""
    parser = argparse.ArgumentParser(prog=f"python -m barecount_{service}.rebuild", description=f"Rebuilds the read model of {service}.")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--rollback", action="store_true", help="put the model from before the last swap back")
    way.add_argument("--prepare", action="store_true", help="build the model of views that no service runs yet")
    way.add_argument("--accept-differences", action="store_true", help="swap although the rows differ: the live ones are wrong")
    way.add_argument("--accept-loss", action="store_true", help="the log was restored from an older copy: what came after it is given up")
    given = parser.parse_args(arguments)
    _keep_standard_output()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        settings = RebuildSettings.load(service=service)
        kafka, url = KafkaSettings(**settings.kafka()), settings.need("database_url")  # type: ignore[arg-type]
        rebuild = Rebuild(kafka, url, service, views, _say, spread=settings.rebuild_spread)
    except SettingsError as error:
        _say({"service": service, "step": "failed", "error": type(error).__name__, "detail": str(error)})
        raise SystemExit(2) from error
    settle_collector()
    try:
        asyncio.run(_run(rebuild, given))
    except Exception as error:
        if not isinstance(error, (RebuildError, LogReplaced)):
            traceback.print_exc()
        _say({"service": service, "step": "failed", "error": type(error).__name__, "detail": str(error) or repr(error)})
        raise SystemExit(1) from error
    raise SystemExit(0)


def _keep_standard_output() -> None:
    """Standard output is for the reports of this process alone. A process that inherited it would hold it open beyond our end: with one
    of a divided rebuild frozen, multiprocessing's resource tracker stays too, and who reads the reports waited for their end for ever."""
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


async def _run(rebuild: Rebuild, given: argparse.Namespace) -> None:
    if given.rollback:
        await rebuild.roll_back()
    elif given.prepare:
        await rebuild.prepare()
    else:
        await rebuild.run(accept_differences=given.accept_differences, accept_loss=given.accept_loss)


def _say(said: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
