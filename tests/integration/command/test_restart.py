"""A service that ends while requests wait, and the one that starts after it: nothing is lost, nothing is decided twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from barecount_chassis import Settings
from barecount_command.app import build
from barecount_evidence.app import build as build_evidence
from barecount_evidence.settings import EvidenceSettings

from tests.integration.command.kit import asking
from tests.integration.command.test_admission import WAIT, created
from tests.integration.command.test_replay import DAY, ended, happened, replay, started
from tests.support.servers import kafka_server, postgres_server
from tests.support.service import running, settings

pytestmark = pytest.mark.integration
DAYS = {"r1": DAY, "r2": "2025-10-05"}


async def test_what_waited_at_the_end_is_decided_after_the_next_start_once(tmp_path: Path) -> None:
    with kafka_server() as kafka, postgres_server() as postgres:
        kafka.furnish()
        await postgres.furnish()
        given = settings(Settings, "command", kafka, postgres, tmp_path)
        async with running(build, given) as service:
            await created(service, "acme")
            for run, day in DAYS.items():
                await happened(kafka, "acme", ended(await started(service, "acme", run, day)))
            async with asking(service, "tenant_admin", "acme") as admin:
                waiting = [(await replay(admin, run, wait=0, partition=day)).json() for run, day in (DAYS | {"nothing": DAY}).items()]
                assert [one["status"] for one in waiting] == ["accepted"] * 3
        async with (
            running(build_evidence, settings(EvidenceSettings, "evidence", kafka, postgres, tmp_path)),
            running(build, given) as service,
            asking(service, "tenant_admin", "acme") as admin,
        ):
            items = await _judged(admin)
            assert Counter(item["state"] for item in items) == {"approved": 2, "refused": 1}
            assert {item["new_run_id"] for item in items} == {"r1-replay-1", "r2-replay-1", None}
            # ids and keys of before are still known
            again = await admin.post("/pipelines/revenue-kpi/runs", json={"partition": "2025-10-04", "run_id": "r1"}, headers=WAIT)
            assert again.json()["code"] == "run-exists"
            fresh = await replay(admin, "r1")
            # and that a newer run of the day was admitted since: the policy does not approve the old one again
            event = fresh.json()["event"]
            assert event["type"] == "ApprovalRequested"
            assert "r1-replay-1" in event["data"]["reason"]


async def _judged(admin: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Every request, as soon as none waits for the ledger."""
    async with asyncio.timeout(60):
        while True:
            items: list[dict[str, Any]] = (await admin.get("/governance/approvals")).json()["items"]
            if all(item["state"] != "pending" for item in items):
                return items
            await asyncio.sleep(0.1)
