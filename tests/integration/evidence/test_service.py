"""The evidence service over HTTP, on the catalogue's topics: what another tenant sees, proofs, the chain of a replay, tiles."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from barecount_contracts import (
    ApiCalled,
    Cause,
    ContractRef,
    DataPartitionPublished,
    Envelope,
    LedgerFacts,
    Message,
    PlanSummary,
    Position,
    Publication,
    ReplayApproved,
    ReplayRequested,
    ReplayValidated,
    RunFailed,
    RunStarted,
    RunSucceeded,
    RunTotals,
)
from barecount_evidence.app import build
from barecount_evidence.settings import EvidenceSettings
from barecount_readmodel import Token, token_secret
from barecount_transparency import (
    TlogProof,
    Tree,
    VerifyingKey,
    decode_bundle,
    leaf_hash,
    open_checkpoint,
    verify_consistency,
    verify_inclusion,
    verify_proof,
)

from tests.support.servers import Kafka, Postgres
from tests.support.service import Service, appending, running, settings

pytestmark = pytest.mark.integration
DAY = "2025-10-04"


@pytest.fixture(scope="module")
async def service(furnished_kafka: Kafka, postgres: Postgres, home: Path) -> AsyncIterator[Service]:
    await postgres.furnish()
    given = settings(EvidenceSettings, "evidence", furnished_kafka, postgres, home)
    async with running(build, given) as service:
        yield service


class World:
    """Appends what the other services would have written."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka

    async def write(
        self, principal: str, topic: str, payload: Message, *, tenant: str, correlation: UUID, cause: Cause | None = None
    ) -> Position:
        envelope = Envelope(
            id=uuid4(), type=payload.TYPE, version=payload.VERSION, tenant=tenant, principal="user:1", time=datetime.now(UTC),
            correlation=correlation, cause=cause, data=payload.to_data(),
        )  # fmt: skip
        async with appending(self.kafka, principal) as appender:
            return await appender.append(topic, tenant, envelope)


@pytest.fixture
def world(furnished_kafka: Kafka) -> World:
    return World(furnished_kafka)


async def answered(client: httpx.AsyncClient, path: str, seconds: float = 20, **query: Any) -> dict[str, Any]:
    """The answer once there is one: the ledger follows its sources by milliseconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await client.get(path, params=query)
        body = answer.json()
        if answer.status_code == 200 and (not isinstance(body, dict) or body.get("items") != []):
            assert isinstance(body, dict)
            return body
        assert time.monotonic() < deadline, f"{path} {query}: {answer.status_code} {body}"
        await asyncio.sleep(0.05)


def plan(rerun_of: str | None = None) -> PlanSummary:
    return PlanSummary(
        pipeline="revenue-kpi", environment="prod", manifest_version=2, manifest_digest="sha256:m",
        contract=ContractRef(name="revenue-kpi", version="v3.2"), data_partitions=(DAY,), mode="replay" if rerun_of else "run",
        rerun_of=rerun_of, root_run=rerun_of,
    )  # fmt: skip


async def test_without_a_token_nothing_is_told(service: Service) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://test") as client:
        for path in ("/evidence", "/evidence/records/0", "/evidence/proof?index=0", "/checkpoint", "/tile/0/000", "/evidence/key"):
            assert (await client.get(path)).status_code == 401


async def test_another_tenants_record_and_no_record_get_the_same_answer(service: Service, world: World) -> None:
    run_id = f"run-{secrets.token_hex(4)}"
    await world.write("execution", "runs.events", RunStarted(run_id=run_id), tenant="acme", correlation=uuid4())
    async with service.client(tenant="acme") as acme, service.client(tenant="bcme") as other:
        (item,) = (await answered(acme, "/evidence", run_id=run_id))["items"]
        index = item["leaf_index"]
        for path in (f"/evidence/records/{index}", f"/evidence/proof?index={index}"):
            assert (await acme.get(path)).status_code == 200
            hidden, absent = await other.get(path), await other.get(path.replace(str(index), str(10**9)))
            assert hidden.status_code == absent.status_code == 404
            same = [{k: v for k, v in a.json().items() if k not in ("instance", "trace_id", "detail")} for a in (hidden, absent)]
            assert same[0] == same[1]
            assert hidden.json()["detail"] == absent.json()["detail"].replace(str(10**9), str(index))
        assert (await other.get("/evidence", params={"run_id": run_id})).json()["items"] == []
        assert (await other.get("/evidence/chain", params={"run_id": run_id})).status_code == 404


async def test_a_record_is_proven_by_what_the_service_publishes_alone(service: Service, world: World) -> None:
    run_id = f"run-{secrets.token_hex(4)}"
    await world.write("execution", "runs.events", RunStarted(run_id=run_id), tenant="acme", correlation=uuid4())
    async with service.client() as client:
        key = VerifyingKey.parse((await client.get("/evidence/key")).json()["vkey"])
        (item,) = (await answered(client, "/evidence", run_id=run_id, type="RunStarted"))["items"]
        proof = await answered(client, "/evidence/proof", index=item["leaf_index"])
        leaf = proof["leaf"].encode()
        head = open_checkpoint(proof["checkpoint"]["note"].encode(), key.name, key).checkpoint
        verify_inclusion(leaf_hash(leaf), item["leaf_index"], head.size, [bytes.fromhex(x) for x in proof["proof"]], head.root)
        verify_proof(TlogProof.decode(proof["tlog_proof"].encode()), leaf_hash(leaf), key.name, key)
        again = await client.get("/evidence/proof", params={"index": item["leaf_index"], "size": head.size})
        assert again.json()["proof"] == proof["proof"]


async def test_a_size_that_was_never_published_proves_nothing(service: Service) -> None:
    async with service.client() as client:
        answer = await client.get("/evidence/proof", params={"index": 0, "size": 10**12})
        assert answer.status_code == 404


async def test_an_older_checkpoint_is_continued(service: Service) -> None:
    async with service.client() as client:
        key = VerifyingKey.parse((await client.get("/evidence/key")).json()["vkey"])
        old = open_checkpoint((await _checkpoint(client)).encode(), key.name, key).checkpoint
        for _ in range(3):
            await client.get("/evidence")
        new = old
        while new.size <= old.size:
            new = open_checkpoint((await _checkpoint(client)).encode(), key.name, key).checkpoint
        answer = (await client.get("/evidence/consistency", params={"from": old.size, "to": new.size})).json()
        verify_consistency(old.size, new.size, old.root, new.root, [bytes.fromhex(x) for x in answer["proof"]])


async def _checkpoint(client: httpx.AsyncClient) -> str:
    """The newest checkpoint, once there is one."""
    await answered(client, "/evidence/consistency", **{"from": 0})
    return (await client.get("/checkpoint")).text


async def test_the_chain_of_a_replay_leads_from_its_call_to_the_commit(service: Service, world: World) -> None:
    old, new, command = f"r1-{secrets.token_hex(3)}", f"r2-{secrets.token_hex(3)}", uuid4()
    totals = RunTotals(records_in=1, records_out=1, dead_lettered=0, error_rate="0", duration_ms=1, reconciled=True)
    failed = RunFailed(
        run_id=old, plan=plan(), plan_digest="sha256:p", totals=totals, stage="read", error_type="reconciliation", error_message="off"
    )
    await world.write("execution", "runs.events", failed, tenant="acme", correlation=uuid4())
    async with service.client() as client:
        (end,) = (await answered(client, "/evidence", run_id=old, type="RunFailed"))["items"]
        inbox = Cause(topic="pipelines.commands", partition=0, offset=10**6, command_id=command)
        requested = ReplayRequested(request_id="q", run_id=old, contract_version="v3.2", data_partition=DAY, manifest_version="as_run")
        await world.write("command", "control.events", requested, tenant="acme", correlation=command, cause=inbox)
        facts = LedgerFacts(found=True, run_id=old, tree_size=1, root_hash="00", leaf_index=end["leaf_index"], inclusion_verified=True)
        reported = inbox.model_copy(update={"offset": 10**6 + 1, "command_id": uuid4()})
        validated = ReplayValidated(
            request_id="q", run_id=old, contract_version="v3.2", data_partition=DAY, facts=facts, plan=plan(old), plan_digest="sha256:p"
        )
        await world.write("command", "control.events", validated, tenant="acme", correlation=command, cause=reported)
        approved = ReplayApproved(
            request_id="q", run_id=old, new_run_id=new, by="policy", rule="r", reason="", plan=plan(old), plan_digest="sha256:p"
        )
        at = await world.write("command", "control.events", approved, tenant="acme", correlation=command, cause=reported)
        called = ApiCalled(
            request_id=str(uuid4()), service="command", method="POST", route="/pipelines/replay", path="/pipelines/replay", status=202,
            command_id=command, duration_ms=1, received=datetime.now(UTC),
        )  # fmt: skip
        await world.write("command", "api.calls", called, tenant="acme", correlation=command)
        begun = Cause(topic="runs.commands", partition=0, offset=10**6, source=at, command_id=uuid4())
        await world.write("execution", "runs.events", RunStarted(run_id=new), tenant="acme", correlation=command, cause=begun)
        publication = Publication(table="acme/prod/t", data_partition=DAY, delta_version=3, ticket=2, files_digest="sha256:f", records=4)
        published = DataPartitionPublished(run_id=new, publication=publication)
        await world.write("execution", "runs.events", published, tenant="acme", correlation=command)
        done = RunSucceeded(run_id=new, plan=plan(old), plan_digest="sha256:p", totals=totals)
        await world.write("execution", "runs.events", done, tenant="acme", correlation=command)
        await answered(client, "/evidence", run_id=new, type="RunSucceeded")
        chain = await answered(client, "/evidence/chain", run_id=new)
    types = {item["index"]: item["type"] for item in chain["items"]}
    assert sorted(types.values()) == sorted(
        [
            "RunFailed",
            "ReplayRequested",
            "ReplayValidated",
            "ReplayApproved",
            "ApiCalled",
            "RunStarted",
            "DataPartitionPublished",
            "RunSucceeded",
        ]
    )
    key = VerifyingKey.parse(chain["vkey"])
    head = open_checkpoint(chain["checkpoint"]["note"].encode(), key.name, key).checkpoint
    for item in chain["items"]:
        verify_inclusion(leaf_hash(item["leaf"].encode()), item["index"], head.size, [bytes.fromhex(x) for x in item["proof"]], head.root)
    parents = {item["index"]: item["parent"] for item in chain["items"]}
    way = [next(index for index, kind in types.items() if kind == "DataPartitionPublished")]
    while (parent := parents[way[-1]]) is not None:
        way.append(parent)
    assert [types[index] for index in way] == [
        "DataPartitionPublished", "RunStarted", "ReplayApproved", "ReplayValidated", "ReplayRequested", "ApiCalled"
    ]  # fmt: skip
    (relying,) = [item for item in chain["items"] if item["relies_on"]]
    assert (relying["type"], relying["relies_on"]) == ("ReplayValidated", [end["leaf_index"]])


async def test_a_read_with_a_consistency_token_includes_that_write(service: Service, world: World) -> None:
    async with service.client() as client:
        for _ in range(5):
            run_id = f"run-{secrets.token_hex(4)}"
            inbox = Cause(topic="runs.commands", partition=3, offset=secrets.randbelow(10**9))
            at = await world.write("execution", "runs.events", RunStarted(run_id=run_id), tenant="acme", correlation=uuid4(), cause=inbox)
            for token in (Token.of(at), Token.of(Position(topic=inbox.topic, partition=3, offset=inbox.offset))):
                headers = {"X-Consistency-Token": token.encode(token_secret(service.keys), "acme")}
                answer = await client.get("/evidence", params={"run_id": run_id}, headers=headers)
                assert answer.status_code == 200, answer.text
                assert len(answer.json()["items"]) == 1


async def test_the_calls_themselves_are_in_the_ledger(service: Service) -> None:
    async with service.client(role="operator", tenant="callers") as client:
        assert (await client.get("/evidence/records/999999999")).status_code == 404
        found = await answered(client, "/evidence", type="ApiCalled", outcome="refused")
        assert found["items"][0]["facts"]["problem_code"] == "not-found"
        assert found["items"][0]["facts"]["route"] == "/evidence/records/{index}"


async def test_coverage_tells_how_far_every_source_is_in_the_ledger(service: Service, world: World) -> None:
    at = await world.write("execution", "runs.events", RunStarted(run_id="x"), tenant="acme", correlation=uuid4())
    async with service.client() as client:
        while True:
            rows = {(r["topic"], r["partition"]): r for r in (await client.get("/evidence/coverage")).json()["items"]}
            if rows.get((at.topic, at.partition), {"next": 0})["next"] > at.offset:
                break
            await asyncio.sleep(0.05)


async def test_tiles_give_the_tree_to_everyone_and_entries_to_the_platform_alone(service: Service) -> None:
    async with service.client() as client, service.client(tenant="platform") as platform:
        key = VerifyingKey.parse((await client.get("/evidence/key")).json()["vkey"])
        head = open_checkpoint((await _checkpoint(client)).encode(), key.name, key).checkpoint
        width = min(head.size, 255)
        hashes = (await client.get(f"/tile/0/000.p/{width}")).content
        assert len(hashes) == 32 * width
        if head.size < 256:
            assert Tree(hashes[at : at + 32] for at in range(0, len(hashes), 32)).root_at(width) == (
                head.root if width == head.size else None
            )
        assert (await client.get(f"/tile/entries/000.p/{width}")).status_code == 404
        bundle = await platform.get(f"/tile/entries/000.p/{width}")
        while bundle.status_code == 404:
            await asyncio.sleep(0.05)
            bundle = await platform.get(f"/tile/entries/000.p/{width}")
        assert [leaf_hash(entry) for entry in decode_bundle(bundle.content)] == [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
        assert (await client.get("/tile/0/999")).status_code == 404
        assert (await client.get("/tile/../secret")).status_code == 404
