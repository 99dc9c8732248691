"""One POST to a tenant's address: to checked addresses only, no redirect, no proxy, within a deadline.

The name is resolved here, once, and the connection goes to an address that was checked, so that a second look-up can give nothing else
(DNS rebinding). TLS verifies the name, not the address. httpcore reads no proxy settings and follows nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import httpcore
from barecount_chassis.targets import Address, PrivateTargets, TargetError, all_refused

from barecount_webhooks.domain.outcome import Failed, Outcome, judged
from barecount_webhooks.domain.schedule import retry_after

DEADLINE_SECONDS = 15.0
MOST_BODY = 16_384
SHOWN_BODY = 500
# a kept connection goes to an address that was checked when it was made; a change of DNS counts after this
KEPT_SECONDS = 10.0


class Blocked(Exception):
    """The name leads where this installation does not deliver."""


class Unresolved(Exception):
    """The name leads nowhere."""


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to resolved addresses after all of them were checked."""

    def __init__(self, targets: PrivateTargets) -> None:
        self._targets, self._inner = targets, httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await resolved(host, port)
        if (why := all_refused(self._targets, host, addresses, port)) is not None:
            raise Blocked(why)
        last: Exception | None = None
        for address in addresses:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last or Unresolved(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def resolved(host: str, port: int) -> list[Address]:
    """Every address of a name, each once. Raises: Unresolved."""
    try:
        rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"{host} cannot be resolved: {error}") from error
    return list(dict.fromkeys(ipaddress.ip_address(row[4][0]) for row in rows))


class Sender:
    """One per process; connections to an endpoint are kept for some seconds between deliveries."""

    def __init__(
        self, targets: PrivateTargets, *, deadline: float = DEADLINE_SECONDS, connections: int = 200, tls: ssl.SSLContext | None = None
    ) -> None:
        self._targets, self._deadline = targets, deadline
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=connections,
            max_keepalive_connections=connections // 2,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=CheckedNetwork(targets),
        )

    async def close(self) -> None:
        await self._pool.aclose()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        """Never raises for what the receiver or the network does."""
        try:
            # again at every attempt: the operator may have changed what is allowed
            target = self._targets.check(url)
            async with asyncio.timeout(self._deadline):
                return await self._post(
                    httpcore.URL(scheme=target.scheme, host=_host(target.host), port=target.port, target=target.path), headers, body
                )
        except (TargetError, Blocked) as error:
            return Failed("blocked-address", str(error))
        except Unresolved as error:
            return Failed("dns", str(error)[:2000])
        except (TimeoutError, httpcore.TimeoutException):
            return Failed("timeout", f"no whole answer within {self._deadline:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            return Failed(*_explained(error))

    async def _post(self, url: httpcore.URL, headers: dict[str, str], body: bytes) -> Outcome:
        name = url.host.decode()
        port = url.port
        host = name if port in (None, {b"https": 443, b"http": 80}.get(url.scheme)) else f"{name}:{port}"
        sent = [(b"host", host.encode()), (b"content-length", str(len(body)).encode())]
        sent += [(key.encode(), value.encode()) for key, value in headers.items()]
        limits = {"connect": self._deadline, "read": self._deadline, "write": self._deadline, "pool": self._deadline}
        async with self._pool.stream("POST", url, headers=sent, content=body, extensions={"timeout": limits}) as answer:
            text = bytearray()
            async for chunk in answer.aiter_stream():
                text += chunk
                if len(text) > MOST_BODY:
                    # leaving the stream closes the connection: nobody is made to read more
                    break
            found = {key.lower(): value for key, value in answer.headers}
            wait = retry_after(found[b"retry-after"].decode("latin-1"), datetime.now(UTC)) if b"retry-after" in found else None
            said = bytes(text[:SHOWN_BODY]).decode("utf-8", "replace").replace("\x00", "\ufffd").strip()
            return judged(answer.status, said, wait)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _explained(error: Exception) -> tuple[Any, str]:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "tls", f"no trusted TLS connection: {cause}"[:2000]
        cause = cause.__cause__ or cause.__context__
    return "connection", f"no connection, or it broke: {error or type(error).__name__}"[:2000]
