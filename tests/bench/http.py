"""The command service as a process of its own beside a broker and a database, asked over HTTP at a steady rate."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from barecount_chassis import issue_token
from barecount_local import sample
from barecount_local.demo import DAY, PIPELINE, TENANT
from barecount_local.keys import make_keys
from barecount_local.ports import free_ports

from tests.support.servers import Kafka, Postgres

START_SECONDS = 60
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Http:
    """A client that costs next to nothing: a pool of connections that stay open, no library between."""

    port: int
    token: str
    _free: list[Streams] = field(default_factory=list)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers (lower case) and the JSON of the answer."""
        data = b"" if body is None else json.dumps(body).encode()
        told = {
            "Host": "bench",
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
        }
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in {**told, **headers}.items()]
        reader, writer = await self._connected()
        writer.write("\r\n".join((f"{method} {path} HTTP/1.1", *lines, "", "")).encode() + data)
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        answered = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        content = await reader.readexactly(int(answered.get("content-length", "0")))
        self._free.append((reader, writer))
        return int(first.split(" ")[1]), answered, json.loads(content) if content else None

    async def _connected(self) -> Streams:
        while self._free:
            reader, writer = self._free.pop()
            # the server ends connections that nobody used for 5 s
            if not reader.at_eof():
                return reader, writer
        return await asyncio.open_connection("127.0.0.1", self.port)


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    client: Http


@asynccontextmanager
async def start(kafka: Kafka, postgres: Postgres, folder: Path) -> AsyncIterator[Running]:
    """The service as the stack would start it, until it is ready; the servers are furnished."""
    process, client = _start(kafka, postgres, folder)
    try:
        await _ready(client, process, folder)
        yield Running(process, client)
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def command_service(kafka: Kafka, postgres: Postgres) -> AsyncIterator[Http]:
    """The service with the sample's contracts and pipeline in it."""
    kafka.furnish()
    await postgres.furnish()
    with tempfile.TemporaryDirectory() as folder:
        async with start(kafka, postgres, Path(folder)) as running:
            client = running.client
            for name in sample.CONTRACTS:
                status, _, answer = await client.ask("POST", "/contracts", yaml.safe_load(sample.document(name)), Prefer="wait=30")
                assert status == 201, answer
            status, _, answer = await client.ask("POST", "/pipelines", manifest(), Prefer="wait=30")
            assert status == 201, answer
            promotion = {"from": "dev", "to": "prod"}
            status, _, answer = await client.ask("POST", f"/pipelines/{PIPELINE}/promote", promotion, Prefer="wait=30")
            assert status == 200, answer
            yield client


def _start(kafka: Kafka, postgres: Postgres, folder: Path) -> tuple[subprocess.Popen[bytes], Http]:
    make_keys(folder / "keys")
    (port,) = free_ports(1)
    given = kafka.settings("command")
    told = {
        "SERVICE": "command",
        "INSTANCE": "command",
        "DATA_DIR": str(folder),
        "KEYS_DIR": str(folder / "keys"),
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(port),
        "KAFKA_BOOTSTRAP": given["bootstrap_servers"],
        "KAFKA_USERNAME": "command",
        "KAFKA_PASSWORD": given["sasl_plain_password"],
        "DATABASE_URL": postgres.dsn("command", user="command"),
    }
    environment = {**os.environ, **{f"BARECOUNT_{name}": value for name, value in told.items()}}
    code = "from barecount_command.app import main; main()"
    with (folder / "command.log").open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=out, stderr=out)
    pem = (folder / "keys" / "issuer.private.pem").read_bytes()
    token = issue_token(pem, subject="bench", tenant=TENANT, roles=["tenant_admin"], ttl=timedelta(hours=1))
    return process, Http(port, token)


async def _ready(client: Http, process: subprocess.Popen[bytes], folder: Path) -> None:
    async with asyncio.timeout(START_SECONDS):
        while process.poll() is None:
            try:
                status, _, _ = await client.ask("GET", "/health/ready")
            except OSError:
                status = 0
            if status == 200:
                return
            await asyncio.sleep(0.05)  # between two questions: a service tells nobody that it is ready
    raise AssertionError(f"the command service ended:\n{_log(folder)}")


def _log(folder: Path) -> str:
    return (folder / "command.log").read_text()[-4000:]


def manifest(**changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load(sample.document(sample.MANIFEST)), **changes}


Write = Callable[[int], Awaitable[None]]


def updating(client: Http, label: str) -> Write:
    """New versions of the sample's manifest: 3.5 KB each, the heaviest command that people send often."""
    base = manifest()

    async def update(number: int) -> None:
        body = {**base, "description": f"{label} {number}"}
        answer = await _admitted(client, "PUT", f"/pipelines/{PIPELINE}", body, f"{label}-{number}")
        assert answer["event"]["type"] == "PipelineUpdated"

    return update


def starting(client: Http, label: str) -> Write:
    """Runs, the command that is sent most."""

    async def run(number: int) -> None:
        body = {"partition": str(DAY), "run_id": f"{label}_{number}"}
        answer = await _admitted(client, "POST", f"/pipelines/{PIPELINE}/runs", body, f"{label}-{number}")
        assert answer["event"]["type"] == "RunRequested"

    return run


async def _admitted(client: Http, method: str, path: str, body: Any, key: str) -> Any:
    """The answer with the read model's word; a 503 is asked again under the same key, as clients do, and its time counts."""
    while True:
        status, _, answer = await client.ask(method, path, body, Prefer="wait=30", Idempotency_Key=key)
        if status != 503:
            assert status in (200, 201), answer
            return answer


async def at_rate_ms(write: Write, rate: int, seconds: float) -> list[float]:
    """ms from sending a write until its answer has what the read model says of it, `rate` a second.

    Open loop: the next is sent when its time has come, whatever became of those before.
    """

    async def timed(number: int) -> float:
        began = time.perf_counter()
        await write(number)
        return (time.perf_counter() - began) * 1000

    start, sent = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        sent.append(asyncio.create_task(timed(number)))
    return list(await asyncio.gather(*sent))


async def read_own_write_ms(client: Http, count: int) -> list[float]:
    """ms of a read that carries the token of the write before it, the write not being waited for; every one must see it."""
    base, times = manifest(), []
    for number in range(count):
        said = f"read {number}"
        _, headers, _ = await client.ask("PUT", f"/pipelines/{PIPELINE}", {**base, "description": said})
        began = time.perf_counter()
        status, _, answer = await client.ask("GET", f"/pipelines/{PIPELINE}", X_Consistency_Token=headers["x-consistency-token"])
        times.append((time.perf_counter() - began) * 1000)
        assert status == 200, answer
        assert answer["manifest"]["description"] == said
    return times
