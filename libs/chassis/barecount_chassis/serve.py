"""Runs a service's app in this process until SIGTERM or SIGINT, and ends cleanly or at a deadline."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from . import collector, telemetry
from .settings import Settings, SettingsError

# how the line begins that says why a service refuses to start
REFUSED = "refused: "


def serve(build: Callable[[Settings], FastAPI], settings: Settings | None = None) -> None:
    """Builds the app and serves it on the settings' host and port. Returns after a clean stop.

    Exits with status 2 when the environment does not say what is needed, with 1 when the app cannot start; with the error's own
    `exit_status` when it has one: starting again will not help, and its words, the last line of standard error, say what will.
    """
    try:
        settings = settings or Settings.load()
        telemetry.setup(settings)
        for name, nearest in settings.unknown_variables().items():
            telemetry.logger().warning(telemetry.SETTING_UNKNOWN, variable=name, nearest=nearest)
        app = build(settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # the edge alone may say whose call it forwards; it is on this machine unless the settings say otherwise
        proxy_headers=True,
        forwarded_allow_ips=[address.strip() for address in settings.edge_addresses.split(",")],
        timeout_graceful_shutdown=max(1, int(settings.stop_seconds / 2)),
    )
    server = _Server(config, settings.stop_seconds)
    telemetry.logger().info(telemetry.SERVICE_STARTED, host=settings.http_host, port=settings.http_port, pid=os.getpid())
    # uvicorn exits with a status of its own when the app cannot start
    with contextlib.suppress(SystemExit):
        server.run()
    server.stopped()
    telemetry.logger().info(telemetry.SERVICE_STOPPED)
    if not server.started:
        failure = app.state.start_failed
        status = getattr(failure, "exit_status", None)
        if status is not None:
            sys.stderr.write(f"{REFUSED}{failure}\n")
        raise SystemExit(status or 1)


class _Server(uvicorn.Server):
    """uvicorn, except that a signal it has obeyed is not raised again: a clean stop exits with 0."""

    def __init__(self, config: uvicorn.Config, stop_seconds: float) -> None:
        super().__init__(config)
        self._stop_seconds = stop_seconds
        self._overdue: threading.Timer | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {one: signal.signal(one, self._stop) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # before: a restore makes and drops many objects. after: what it has restored is not walked again
        collector.settle()
        await super().startup(sockets)
        collector.settle()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # answers without an end are told to end; the others are waited for
        self.config.app.state.stopping.set()  # type: ignore[union-attr]
        await super().shutdown(sockets)

    def stopped(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()

    def _stop(self, number: int, frame: object) -> None:
        self.should_exit = True
        if self._overdue is None:
            telemetry.logger().info(telemetry.SERVICE_STOPPING, signal=signal.Signals(number).name)
            # a thread, because a loop that hangs would never look at its own deadline
            self._overdue = threading.Timer(self._stop_seconds, self._give_up)
            self._overdue.daemon = True
            self._overdue.start()

    def _give_up(self) -> None:
        telemetry.logger().error(telemetry.SERVICE_STOP_OVERDUE, seconds=self._stop_seconds)
        sys.stdout.flush()
        os._exit(1)
