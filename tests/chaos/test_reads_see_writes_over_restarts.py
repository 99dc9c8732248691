"""Command, then query with its token, over the edge, while the services that project are killed and stopped: no answer is ever stale.

Each caller is the only writer of its pipeline, so what it reads must be exactly what it wrote last. While a service is away the edge says
503 with Retry-After; whoever comes again is answered. `make chaos` asks ten thousand pairs, `make test` a few hundred.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from secrets import token_hex
from typing import Any

import pytest
import yaml
from barecount_chassis import issue_token
from barecount_local import sample
from barecount_local.demo import DAY, PIPELINE

from tests.bench.http import Http
from tests.support.stack import Stack

FULL = int(os.environ.get("BARECOUNT_CHAOS_SEEDS", "1")) > 1
# one caller in four starts runs, which another service answers about; no worker serves their pool, so that they cost only their records
PAIRS, TENANTS, CALLERS = (10_000, 5, 10) if FULL else (240, 2, 8)
# who is ended by what among the pairs; the supervisor starts it again
KINDS = (("command", signal.SIGKILL), ("execution", signal.SIGTERM), ("command", signal.SIGTERM), ("execution", signal.SIGKILL))
RESTARTS = KINDS * 3 if FULL else KINDS[:2]
PATIENCE = 60.0
# the edge answers to its own names only
HOST = "localhost"

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


@dataclass
class Seen:
    """What the callers met. Seconds of reads that were answered at once; statuses of those that had to come again."""

    done: int = 0
    stale: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    slowest: float = 0.0
    again: dict[str, int] = field(default_factory=dict)


async def test_no_pair_of_command_and_query_is_stale_while_the_projectors_are_killed_and_stopped(victim_stack: Stack) -> None:
    seen, began = Seen(), time.monotonic()
    tenants = [f"pairs-{token_hex(3)}" for _ in range(TENANTS)]
    await asyncio.gather(*(asyncio.to_thread(furnish, victim_stack, tenant) for tenant in tenants))
    callers = [
        asyncio.create_task((runs if number % 4 == 3 else manifests)(victim_stack, tenants[number % TENANTS], number, seen))
        for number in range(CALLERS)
    ]
    restarting = asyncio.create_task(restarts(victim_stack, seen))
    try:
        await asyncio.gather(*callers)
        await restarting
    finally:
        for task in (*callers, restarting):
            task.cancel()
    ordered = sorted(seen.waits)
    p50, p99 = (ordered[len(ordered) * part // 100] * 1e3 for part in (50, 99))
    sys.stdout.write(
        f"{seen.done} pairs by {CALLERS} callers of {TENANTS} tenants in {time.monotonic() - began:.0f} s, {len(RESTARTS)} restarts: "
        f"stale {len(seen.stale)}, refused {len(seen.refused)}; read with token p50 {p50:.1f} ms, p99 {p99:.1f} ms "
        f"({len(ordered)} at once), slowest over a restart {seen.slowest:.1f} s; came again {seen.again}\n"
    )
    assert not seen.stale, f"{len(seen.stale)} of {seen.done}: {seen.stale[:3]}"
    assert not seen.refused, f"{len(seen.refused)} of {seen.done}: {seen.refused[:3]}"
    assert seen.done == PAIRS // CALLERS * CALLERS
    assert seen.again, "no restart was met by a caller"


def furnish(product: Stack, tenant: str) -> None:
    admin = product.client("tenant_admin", tenant)
    for name in sample.CONTRACTS:
        admin.write("POST", "/contracts", yaml.safe_load(sample.document(name)))
    body = yaml.safe_load(sample.document(sample.MANIFEST))
    admin.write("POST", "/pipelines", {**body, "pool": "nobody"})
    admin.write("POST", f"/pipelines/{PIPELINE}/promote", {"from": "dev", "to": "prod"})


def client_of(product: Stack, tenant: str) -> Http:
    pem = (product.settings.keys / "issuer.private.pem").read_bytes()
    token = issue_token(pem, subject=f"pairs@{tenant}", tenant=tenant, roles=["tenant_admin"], ttl=timedelta(hours=2))
    return Http(product.port, token)


async def manifests(product: Stack, tenant: str, number: int, seen: Seen) -> None:
    """A pipeline of its own, a new manifest each time."""
    client, name = client_of(product, tenant), f"kpi-{number}"
    base = {**yaml.safe_load(sample.document(sample.MANIFEST)), "name": name}
    for mine in range(1, PAIRS // CALLERS + 1):
        said, method, path = f"version {mine}", *(("POST", "/pipelines") if mine == 1 else ("PUT", f"/pipelines/{name}"))
        token = await write(client, seen, method, path, {**base, "description": said})
        status, answer = await read(client, seen, f"/pipelines/{name}", token)
        shown = (answer["manifest"]["description"], answer["version"]) if status == 200 else None
        judged(seen, status, shown == (said, mine), f"{tenant} {name} wrote {said} and read {status}: {shown or answer}")


async def runs(product: Stack, tenant: str, number: int, seen: Seen) -> None:
    """A new run each time, which execution answers about."""
    client = client_of(product, tenant)
    for mine in range(1, PAIRS // CALLERS + 1):
        run = f"pair_{number}_{mine}"
        token = await write(client, seen, "POST", f"/pipelines/{PIPELINE}/runs", {"partition": str(DAY), "run_id": run})
        status, answer = await read(client, seen, f"/runs/{run}", token)
        judged(seen, status, status == 200 and answer["run_id"] == run, f"{tenant} started {run} and read {status}: {answer}")


def judged(seen: Seen, status: int, own: bool, what: str) -> None:
    """What a reader did not find was written later than what it was shown; any other refusal of a good token is wrong too."""
    if not own:
        (seen.stale if status in (200, 404) else seen.refused).append(what)
    seen.done += 1


async def write(client: Http, seen: Seen, method: str, path: str, body: Any) -> str:
    """The consistency token of an accepted command; repeated under one key."""
    status, headers, answer, _ = await patient(client, seen, method, path, body, Idempotency_Key=token_hex(16))
    assert status == 202, f"{method} {path}: {status} {answer}"
    return headers["x-consistency-token"]


async def read(client: Http, seen: Seen, path: str, token: str) -> tuple[int, Any]:
    began = time.perf_counter()
    status, _, answer, tries = await patient(client, seen, "GET", path, None, X_Consistency_Token=token)
    took = time.perf_counter() - began
    if tries == 1:
        seen.waits.append(took)
    else:
        seen.slowest = max(seen.slowest, took)
    return status, answer


async def patient(client: Http, seen: Seen, method: str, path: str, body: Any, **headers: str) -> tuple[int, Mapping[str, str], Any, int]:
    """The first answer that is not 503 with Retry-After, and how many times it was asked for."""
    deadline = time.monotonic() + PATIENCE
    for tries in range(1, 1_000):
        try:
            status, told, answer = await client.ask(method, path, body, Host=HOST, **headers)
        except (OSError, asyncio.IncompleteReadError):
            why = "cut"
        else:
            if status != 503:
                return status, told, answer, tries
            assert told["retry-after"] == "1"
            assert answer["remedy"], answer
            why = answer["code"]
        seen.again[why] = seen.again.get(why, 0) + 1
        assert time.monotonic() < deadline, f"{method} {path} was not answered within {PATIENCE:g} s: {why}"
        await asyncio.sleep(0.2)  # sooner than Retry-After says, so that many calls meet the moment in which the service begins
    raise AssertionError("unreachable: the deadline comes first")


async def restarts(product: Stack, seen: Seen) -> None:
    """Ends one service after the other, each when its share of the pairs is done and the one before is back."""
    for number, (victim, how) in enumerate(RESTARTS, 1):
        while seen.done < number * PAIRS // (len(RESTARTS) + 1):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the callers tell nobody
        ended = await asyncio.to_thread(product.kill, victim, how)
        deadline = time.monotonic() + PATIENCE
        while True:
            row = (await asyncio.to_thread(product.processes))[victim]
            if row["health"] == "ready" and row["pid"] != ended:
                break
            assert time.monotonic() < deadline, f"{victim} is not back within {PATIENCE:g} s of {how.name}: {row}"
            await asyncio.sleep(0.1)  # the supervisor tells nobody
