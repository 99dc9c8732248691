"""The service as the stack runs it: a process that is killed comes back and continues its own log."""

from __future__ import annotations

import asyncio
import json
import os
import time
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from barecount_chassis import issue_token
from barecount_evidence.settings import EvidenceSettings
from barecount_local.ports import free_ports
from barecount_transparency import VerifyingKey, open_checkpoint, verify_consistency

from tests.support.forks import DEVNULL, Forked, forked
from tests.support.servers import Kafka, Postgres
from tests.support.service import settings

pytestmark = pytest.mark.integration


async def started(environment: dict[str, str], port: int) -> Forked:
    process = await forked("barecount_evidence.app", env=os.environ | environment, stdout=DEVNULL)
    deadline = time.monotonic() + 60
    async with httpx.AsyncClient() as client:
        while True:
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/health/ready")
                if answer.status_code == 200:
                    return process
                told = answer.text
            except httpx.TransportError as error:
                told = repr(error)
            assert process.returncode is None, f"the process ended with {process.returncode}"
            assert time.monotonic() < deadline, told
            await asyncio.sleep(0.1)


async def _checkpoint(client: httpx.AsyncClient) -> bytes:
    deadline = time.monotonic() + 20
    while True:
        answer = await client.get("/checkpoint")
        if answer.status_code == 200:
            return answer.content
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.05)


async def test_a_killed_service_comes_back_and_continues_its_log(furnished_kafka: Kafka, postgres: Postgres, home: Path) -> None:
    await postgres.furnish()
    (port,) = free_ports(1)
    given = settings(EvidenceSettings, "evidence", furnished_kafka, postgres, home)
    environment = {f"BARECOUNT_{name.upper()}": str(value) for name, value in json.loads(given.model_dump_json(exclude_none=True)).items()}
    environment |= {
        "BARECOUNT_HTTP_PORT": str(port),
        "BARECOUNT_KAFKA_PASSWORD": given.kafka_password.get_secret_value() if given.kafka_password else "",
        "BARECOUNT_DATABASE_URL": given.need("database_url"),
    }
    pem = (given.keys / "issuer.private.pem").read_bytes()
    token = issue_token(pem, subject="auditor", tenant="acme", roles=["auditor"], ttl=timedelta(hours=1))
    process = await started(environment, port)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}) as client:
            key = VerifyingKey.parse((await client.get("/evidence/key")).json()["vkey"])
            # this very call is a record: once it is covered there is something to continue
            old = open_checkpoint(await _checkpoint(client), key.name, key).checkpoint
            process.kill()
            await process.wait()
            process = await started(environment, port)
            while True:
                new = open_checkpoint(await _checkpoint(client), key.name, key).checkpoint
                if new.size > old.size:
                    break
            proof = (await client.get("/evidence/consistency", params={"from": old.size, "to": new.size})).json()["proof"]
            verify_consistency(old.size, new.size, old.root, new.root, [bytes.fromhex(part) for part in proof])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
