"""A TCP way to a server that a test can cut: between two packets, or so that the answer to one request is lost after it was done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

CHUNK = 65_536


class Proxy:
    """One way. `losing(request)`: the next packet with these bytes reaches the server, and its answer nobody.

    `passing` cleared: nothing goes through in either direction, and no connection ends, as with a server that is frozen. `gone`: whoever
    connects is reset.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._open: set[asyncio.StreamWriter] = set()
        self._losing: bytes | None = None
        self.lost = asyncio.Event()
        self.gone = False
        self.passing = asyncio.Event()
        self.passing.set()

    def losing(self, request: bytes) -> None:
        self._losing = request
        self.lost.clear()

    def cut(self) -> int:
        """Resets every connection on both sides, as when a firewall forgets them; how many they were."""
        cut = len(self._open)
        for writer in list(self._open):
            writer.transport.abort()
        return cut

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.gone:
            writer.transport.abort()
            return
        with suppress(OSError):
            theirs, to_them = await asyncio.open_connection(self._host, self._port)
            self._open |= {writer, to_them}
            doomed = asyncio.Event()
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._requests(reader, to_them, doomed))
                    both.create_task(self._answers(theirs, writer, doomed))
            except* OSError:
                pass
            finally:
                self._open -= {writer, to_them}
                writer.transport.abort()
                to_them.transport.abort()

    async def _requests(self, client: asyncio.StreamReader, server: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        while data := await client.read(CHUNK):
            if self._losing is not None and self._losing in data:
                self._losing = None
                doomed.set()
            await self.passing.wait()
            server.write(data)
            await server.drain()
        raise ConnectionResetError

    async def _answers(self, server: asyncio.StreamReader, client: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        while data := await server.read(CHUNK):
            if doomed.is_set():
                # the server has answered, so it has done what was asked
                self.lost.set()
                raise ConnectionResetError
            await self.passing.wait()
            client.write(data)
            await client.drain()
        raise ConnectionResetError


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy to the server of a database's address, and the address through it."""
    parts = urlsplit(url)
    proxy = Proxy(parts.hostname or "", parts.port or 0)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    own = server.sockets[0].getsockname()[1]
    try:
        login = parts.netloc.rpartition("@")[0]
        yield proxy, urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{own}"))
    finally:
        server.close()
        proxy.cut()
