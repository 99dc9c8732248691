"""A replay on real parts: the request waits for the evidence service's ledger, and what that proves decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from barecount_chassis import CommandBus, Keyring
from barecount_chassis.telemetry import REGISTRY
from barecount_command.policies import LedgerPolicy
from barecount_contracts import DataPartitionPublished, Envelope, PlanSummary, Publication, RunFailed, RunSucceeded, RunTotals
from barecount_contracts.message import Message
from barecount_eventlog import Batch, KafkaSettings, end_offsets, read_all, tail
from barecount_evidence.app import build as build_evidence
from barecount_evidence.settings import EvidenceSettings

from tests.integration.command.kit import asking
from tests.integration.command.test_admission import WAIT, created
from tests.support.servers import Kafka, Postgres
from tests.support.service import Service, appending, running, settings

pytestmark = pytest.mark.integration

TOTALS = RunTotals(records_in=10, records_out=0, dead_lettered=10, error_rate="1.000000", duration_ms=5)
DAY = "2025-10-04"


@pytest.fixture(scope="module")
async def evidence(own_kafka: Kafka, own_postgres: Postgres, folder: Path, service: Service) -> AsyncIterator[Service]:
    """The real evidence service, on the same log."""
    async with running(build_evidence, settings(EvidenceSettings, "evidence", own_kafka, own_postgres, folder)) as running_evidence:
        yield running_evidence


async def started(service: Service, tenant: str, run_id: str, day: str = DAY) -> dict[str, Any]:
    async with asking(service, "operator", tenant) as operator:
        answer = await operator.post("/pipelines/revenue-kpi/runs", json={"partition": day, "run_id": run_id}, headers=WAIT)
        assert answer.status_code == 201, answer.text
        data: dict[str, Any] = answer.json()["event"]["data"]
        return data


async def happened(kafka: Kafka, tenant: str, *payloads: Message) -> None:
    """What the execution service writes; the broker lets only its principal do so."""
    async with appending(kafka, "execution") as execution:
        for payload in payloads:
            envelope = Envelope(
                id=uuid4(), type=payload.TYPE, tenant=tenant, time=datetime.now(UTC), correlation=uuid4(), data=payload.to_data()
            )
            await execution.append("runs.events", "default", envelope)


def ended(requested: dict[str, Any], cls: type[Message] = RunFailed, **more: Any) -> Message:
    if cls is RunFailed:
        more = {"stage": "read", "error_type": "too-many-bad-records", "error_message": "10 of 10", **more}
    plan = PlanSummary.model_validate(requested["plan"])
    return cls(run_id=requested["run_id"], plan=plan, plan_digest=requested["plan_digest"], totals=TOTALS, **more)


def published(run_id: str) -> Message:
    digest = "sha256:" + "0" * 64
    publication = Publication(table="revenue_kpi", data_partition=DAY, delta_version=1, ticket=1, files_digest=digest, records=1)
    return DataPartitionPublished(run_id=run_id, publication=publication)


async def replay(client: httpx.AsyncClient, run_id: str, wait: int = 20, **changes: Any) -> httpx.Response:
    order = {"run_id": run_id, "contract_version": "v3.2", "partition": DAY, **changes}
    return await client.post("/pipelines/replay", json=order, headers={"Prefer": f"wait={wait}"})


@pytest.fixture(scope="module")
async def tenant(service: Service) -> str:
    await created(service, "acme")
    return "acme"


async def test_a_replay_waits_visibly_while_the_ledger_stands_still(
    service: Service, own_kafka: Kafka, own_postgres: Postgres, folder: Path, tenant: str
) -> None:
    requested = await started(service, tenant, "early")
    await happened(own_kafka, tenant, ended(requested))
    async with asking(service, "tenant_admin", tenant) as admin:
        pending = await replay(admin, "early", wait=2)
        other = await replay(admin, "nothing", wait=1)
        assert (pending.status_code, other.status_code) == (202, 202)
        shown = (await admin.get(f"/commands/{pending.json()['command_id']}")).json()
        assert (shown["status"], shown["result"]) == ("pending", None)
        assert REGISTRY.get_sample_value("barecount_replay_requests_waiting") == 2
        assert (REGISTRY.get_sample_value("barecount_replay_wait_seconds") or 0) > 1
        # the same request after the ledger has begun to move: its first outcome is waited for again
        async with running(build_evidence, settings(EvidenceSettings, "evidence", own_kafka, own_postgres, folder)):
            results = [await _ended(admin, one.json()["command_id"]) for one in (pending, other)]
        assert [one["type"] for one in results] == ["ReplayApproved", "ReplayRefused"]
        assert results[1]["data"]["code"] == "run-not-found"


async def _ended(client: httpx.AsyncClient, command_id: str) -> dict[str, Any]:
    async with asyncio.timeout(40):
        while True:
            found = (await client.get(f"/commands/{command_id}")).json()
            if found["status"] != "pending":
                result: dict[str, Any] = found["result"]
                return result
            await asyncio.sleep(0.1)


async def test_what_the_ledger_does_not_prove_is_refused(service: Service, evidence: Service, own_kafka: Kafka, tenant: str) -> None:
    requested = await started(service, tenant, "judged")
    running_still = await started(service, tenant, "running")
    await happened(own_kafka, tenant, ended(requested))
    async with asking(service, "tenant_admin", tenant) as admin:
        answers = await asyncio.gather(
            replay(admin, "unknown"),
            replay(admin, running_still["run_id"]),
            replay(admin, "judged", partition="2025-10-05"),
            replay(admin, "judged", contract_version="v1.0"),
            replay(admin, "judged", contract_version="v9.9"),
            replay(admin, "judged", manifest_version=7),
        )
        assert [(one.status_code, one.json()["code"]) for one in answers] == [
            (404, "run-not-found"),
            (409, "run-not-ended"),
            (409, "partition-not-of-run"),
            (409, "contract-mismatch"),
            (422, "unknown-contract-version"),
            (422, "unknown-manifest-version"),
        ]
        assert answers[2].json()["extra"] == {"had": [DAY]}
        assert answers[3].json()["extra"] == {"ran_under": {"name": "revenue-kpi", "version": "v3.2"}}
        assert answers[4].json()["extra"]["exists"] == [{"name": "revenue-kpi", "version": "v3.2"}]


async def test_another_tenant_has_no_such_run(service: Service, evidence: Service, own_kafka: Kafka, tenant: str) -> None:
    await created(service, "globex")
    requested = await started(service, tenant, "private")
    await happened(own_kafka, tenant, ended(requested))
    async with asking(service, "tenant_admin", "globex") as stranger:
        answer = await replay(stranger, "private")
        assert (answer.status_code, answer.json()["code"]) == (404, "run-not-found")
        assert (await stranger.get("/governance/approvals")).json()["items"][0]["state"] == "refused"


async def test_a_failed_data_partition_is_approved_by_policy_with_its_proof(
    service: Service, evidence: Service, own_kafka: Kafka, tenant: str
) -> None:
    requested = await started(service, tenant, "rev_kpi_20251004_01")
    await happened(own_kafka, tenant, ended(requested))
    async with asking(service, "tenant_admin", tenant) as admin:
        answer = await replay(admin, "rev_kpi_20251004_01")
        assert answer.status_code == 201, answer.text
        body = answer.json()
        assert body["event"]["type"] == "ReplayApproved"
        assert body["event"]["data"]["new_run_id"] == "rev_kpi_20251004_01-replay-1"
        assert body["event"]["data"]["by"] == "policy"
        assert body["links"]["run"] == "/runs/rev_kpi_20251004_01-replay-1"
        shown = (await admin.get(f"/commands/{body['command_id']}")).json()
        assert [one["type"] for one in shown["events"]] == ["ReplayValidated", "ReplayApproved"]
        facts = shown["events"][0]["data"]["facts"]
        assert (facts["inclusion_verified"], facts["checkpoint_verified"], facts["status"]) == (True, True, "failed")
    async with asking(evidence, "auditor", tenant) as auditor:
        proof = (await auditor.get("/evidence/proof", params={"index": facts["leaf_index"], "size": facts["tree_size"]})).json()
        assert proof["leaf_hash"] == facts["leaf_hash"]
        assert proof["checkpoint"]["root"] == facts["root_hash"]


async def test_a_run_that_had_published_waits_for_another_person(
    service: Service, evidence: Service, own_kafka: Kafka, tenant: str
) -> None:
    requested = await started(service, tenant, "done")
    await happened(own_kafka, tenant, published("done"), ended(requested, RunSucceeded))
    async with asking(service, "tenant_admin", tenant) as admin, asking(service, "governance", tenant) as governor:
        answer = await replay(admin, "done")
        assert (answer.status_code, answer.json()["status"]) == (201, "waiting")
        (request,) = (await governor.get("/governance/approvals?state=waiting")).json()["items"]
        decision = {"request_id": request["request_id"], "decision": "approve", "reason": "ok", "plan_digest": request["plan_digest"]}
        own = await admin.post("/governance/decisions", json=decision, headers=WAIT)
        assert (own.status_code, own.json()["code"]) == (403, "own-request")
        other = await governor.post("/governance/decisions", json={**decision, "plan_digest": "sha256:00"}, headers=WAIT)
        assert other.json()["code"] == "plan-mismatch"
        yes = await governor.post("/governance/decisions", json=decision, headers=WAIT)
        assert (yes.status_code, yes.json()["event"]["type"]) == (200, "ReplayApproved")
        again = await governor.post("/governance/decisions", json=decision, headers=WAIT)
        assert (again.status_code, again.json()["code"]) == (409, "request-not-waiting")
        assert (await governor.get("/governance/approvals?state=waiting")).json()["items"] == []
        # who asked sees under the same command that somebody else has decided
        shown = (await admin.get(f"/commands/{answer.json()['command_id']}")).json()
        assert (shown["status"], shown["result"]["type"]) == ("admitted", "ReplayApproved")
        assert shown["result"]["principal"] != shown["principal"]


async def test_an_approval_of_what_is_not_so_any_more_is_refused_with_the_difference_and_ends_the_request(
    service: Service, evidence: Service, own_kafka: Kafka, tenant: str
) -> None:
    requested = await started(service, tenant, "overtaken")
    await happened(own_kafka, tenant, published("overtaken"), ended(requested, RunSucceeded))
    async with asking(service, "tenant_admin", tenant) as admin, asking(service, "governance", tenant) as governor:
        answer = await replay(admin, "overtaken")
        assert answer.json()["status"] == "waiting", answer.text
        (request,) = (await governor.get("/governance/approvals?state=waiting")).json()["items"]
        await started(service, tenant, "overtaking")
        decision = {"request_id": request["request_id"], "decision": "approve", "reason": "ok", "plan_digest": request["plan_digest"]}
        late = await governor.post("/governance/decisions", json=decision, headers=WAIT)
        difference = {"newest_run": {"was": "overtaken", "is": "overtaking"}}
        assert (late.status_code, late.json()["code"], late.json()["extra"]) == (409, "plan-stale", {"difference": difference})
        listed = (await admin.get("/governance/approvals?state=refused")).json()["items"]
        shown = next(one for one in listed if one["request_id"] == request["request_id"])
        assert (shown["code"], shown["extra"], shown["plan_digest"]) == ("plan-stale", {"difference": difference}, request["plan_digest"])
        assert shown["decided_by"] not in (None, shown["requested_by"])
        assert (await admin.get(f"/commands/{answer.json()['command_id']}")).json()["status"] == "refused"


async def test_a_policy_that_repeats_every_report_changes_nothing(
    service: Service, evidence: Service, own_kafka: Kafka, folder: Path, tenant: str
) -> None:
    given = own_kafka.settings("command")
    kafka = KafkaSettings(given["bootstrap_servers"], given["sasl_plain_username"], given["sasl_plain_password"])

    known = await end_offsets(kafka, "control.events")
    requests = {event.cause.source for event in await _reports(read_all(kafka, "control.events")) if event.cause}
    async with appending(own_kafka, "command") as appender:
        bus = CommandBus(appender, Keyring(service.keys, "command"), inbox="pipelines.commands")
        # as after a crash before any commit: a group without positions, and nobody knows what was judged
        policy = LedgerPolicy(kafka, bus, judged=lambda *_: False, group="command.ledger-facts-again")
        await policy.start()
        async with asyncio.timeout(30):
            repeated = await _reports(tail(kafka, "control.events", start=known), len(requests))
        await policy.stop()
    assert {event.cause.source for event in repeated if event.cause} == requests
    # the facts may name a newer root than the first report's: another body under the same command id
    assert {event.type for event in repeated} == {"CommandDuplicated"}


async def _reports(batches: AsyncIterator[Batch], enough: int | None = None) -> list[Envelope]:
    """What the handler answered to the policy's reports, until the end of the log or `enough`."""
    found: list[Envelope] = []
    async for batch in batches:
        events = [record.whole() for record in batch.records]
        found += [event for event in events if event.cause and event.cause.command_type == "ReportLedgerFacts" and event.cause.index == 0]
        if enough is not None and len(found) >= enough:
            break
    return found
