"""Commands over HTTP on real Kafka and PostgreSQL: admitted, refused, repeated, and read back with the token."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.command.kit import asking
from tests.support.service import Service

pytestmark = pytest.mark.integration

SAMPLE = files("barecount_local") / "sample"
WAIT = {"Prefer": "wait=10"}


def sample(name: str, **changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load((SAMPLE / f"{name}.yaml").read_text()), **changes}


async def registered(service: Service, tenant: str) -> None:
    async with asking(service, "developer", tenant) as developer:
        for name in ("retail-transactions.odcs", "revenue-kpi.odcs"):
            answer = await developer.post("/contracts", json=sample(name), headers=WAIT)
            assert answer.status_code == 201, answer.text


async def created(service: Service, tenant: str) -> None:
    await registered(service, tenant)
    async with asking(service, "developer", tenant) as developer:
        answer = await developer.post("/pipelines", json=sample("revenue-kpi"), headers=WAIT)
        assert answer.status_code == 201, answer.text
        answer = await developer.post("/pipelines/revenue-kpi/promote", json={"from": "dev", "to": "prod"}, headers=WAIT)
        assert answer.status_code == 200, answer.text


async def test_a_manifest_that_names_an_unknown_contract_is_refused_with_what_exists(service: Service) -> None:
    async with asking(service, "developer", "a1") as developer:
        await developer.post("/contracts", json=sample("revenue-kpi.odcs"), headers=WAIT)
        answer = await developer.post("/pipelines", json=sample("revenue-kpi"), headers=WAIT)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["code"] == "unknown-contract"
        assert problem["extra"]["exists"] == [{"name": "revenue-kpi", "version": "v3.2"}]
        shown = (await developer.get(f"/commands/{problem['command_id']}")).json()
        assert (shown["status"], shown["admission"]["type"]) == ("refused", "CommandRefused")


async def test_an_invalid_manifest_in_yaml_is_refused_with_every_problem(service: Service) -> None:
    async with asking(service, "developer", "a2") as developer:
        yaml_type = {"content-type": "application/yaml", **WAIT}
        broken = "name: revenue-kpi\nowner: 7\nkind: Pipeline\n"
        answer = await developer.post("/pipelines", content=broken, headers=yaml_type)
        assert answer.json()["code"] == "invalid-manifest"
        assert {"/apiVersion", "/owner", "/stages"} <= {one["path"] for one in answer.json()["errors"]}
        twice = await developer.post("/pipelines", content="name: a\nname: b\n", headers=yaml_type)
        assert twice.status_code == 422
        assert "stands twice" in twice.json()["detail"]


async def test_a_role_without_the_permission_is_refused_on_every_write(service: Service) -> None:
    async with asking(service, "auditor", "a3") as auditor:
        for path in ("/contracts", "/pipelines", "/pipelines/x/promote", "/pipelines/x/runs", "/pipelines/replay", "/runs/x/cancel"):
            answer = await auditor.post(path, json={})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path


async def test_another_tenant_and_nobody_get_the_same_answer(service: Service) -> None:
    await created(service, "b1")
    async with asking(service, "developer", "b2") as stranger:
        for path in ("/pipelines/revenue-kpi", "/pipelines/revenue-kpi/history", "/contracts/revenue-kpi", "/contracts/revenue-kpi/v3.2"):
            answer, nothing = await stranger.get(path), await stranger.get(path.replace("revenue-kpi", "nothing-kpi"))
            assert answer.status_code == 404
            assert answer.text == nothing.text.replace("nothing-kpi", "revenue-kpi")
        assert (await stranger.get("/pipelines")).json() == {"items": [], "next_cursor": None}
        answer = await stranger.post("/pipelines/revenue-kpi/runs", json={"partition": "2025-10-04"}, headers=WAIT)
        assert (answer.status_code, answer.json()["code"]) == (404, "pipeline-not-found")


async def test_a_key_used_for_another_body_is_refused_and_the_first_outcome_stands(service: Service) -> None:
    await created(service, "c1")
    async with asking(service, "operator", "c1") as operator:
        once = {"Idempotency-Key": "start-1", **WAIT}
        first = await operator.post("/pipelines/revenue-kpi/runs", json={"partition": "2025-10-04", "run_id": "r1"}, headers=once)
        again = await operator.post("/pipelines/revenue-kpi/runs", json={"partition": "2025-10-04", "run_id": "r1"}, headers=once)
        other = await operator.post("/pipelines/revenue-kpi/runs", json={"partition": "2025-10-05", "run_id": "r2"}, headers=once)
        assert first.status_code == again.status_code == 201
        assert first.json()["command_id"] == again.json()["command_id"]
        assert first.json()["event"] == again.json()["event"]
        assert first.json()["event"]["type"] == "RunRequested"
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
        shown = (await operator.get(f"/commands/{first.json()['command_id']}")).json()
        assert (shown["status"], shown["links"]["run"]) == ("admitted", "/runs/r1")


async def test_what_was_written_is_read_with_the_token(service: Service) -> None:
    await registered(service, "d1")
    async with asking(service, "developer", "d1") as developer:
        for number in range(1, 21):
            manifest = sample("revenue-kpi", owner=f"team-{number}")
            write = developer.post if number == 1 else developer.put
            accepted = await write("/pipelines" if number == 1 else "/pipelines/revenue-kpi", json=manifest)
            assert accepted.status_code == 202
            assert accepted.headers["location"] == accepted.json()["links"]["command"]
            token = {"X-Consistency-Token": accepted.headers["x-consistency-token"]}
            shown = await developer.get("/pipelines/revenue-kpi", headers=token)
            assert shown.json()["manifest"]["owner"] == f"team-{number}"
        forged = token["X-Consistency-Token"][:-4] + "AAAA"
        assert (await developer.get("/pipelines", headers={"X-Consistency-Token": forged})).json()["code"] == "token-foreign"


async def test_a_pipeline_goes_from_dev_to_prod_and_its_history_tells(service: Service) -> None:
    await created(service, "e1")
    async with asking(service, "developer", "e1") as developer:
        shown = await developer.get("/pipelines/revenue-kpi")
        etag = shown.headers["etag"]
        assert shown.json()["environments"] == {"dev": 1, "prod": 1}
        assert (await developer.get("/pipelines/revenue-kpi", headers={"If-None-Match": etag})).status_code == 304
        assert (await developer.get("/pipelines/revenue-kpi?environment=staging")).status_code == 404
        await developer.post("/pipelines/revenue-kpi/promote", json={"from": "dev", "to": "staging"}, headers=WAIT)
        moved = await developer.get("/pipelines/revenue-kpi", headers={"If-None-Match": etag})
        assert (moved.status_code, moved.json()["environments"]["staging"]) == (200, 1), "the same manifest, and yet another answer"
        stale = {"If-Match": '"7-sha256:00"', **WAIT}
        refused = await developer.put("/pipelines/revenue-kpi", json=sample("revenue-kpi", owner="finance"), headers=stale)
        assert (refused.status_code, refused.json()["code"]) == (412, "version-conflict")
        fresh = {"If-Match": etag, **WAIT}
        assert (
            await developer.put("/pipelines/revenue-kpi", json=sample("revenue-kpi", owner="finance"), headers=fresh)
        ).status_code == 200
        assert (await developer.get("/pipelines/revenue-kpi?environment=prod")).json()["manifest"]["owner"] == "retail-analytics"
        assert (await developer.get("/pipelines/revenue-kpi?environment=dev")).json()["shown_version"] == 2
        first = (await developer.get("/pipelines/revenue-kpi/history?limit=2")).json()
        rest = (await developer.get(f"/pipelines/revenue-kpi/history?limit=2&cursor={first['next_cursor']}")).json()
        assert [one["type"] for one in first["items"] + rest["items"]] == [
            "PipelineCreated",
            "PipelinePromoted",
            "PipelinePromoted",
            "PipelineUpdated",
        ]
        assert rest["next_cursor"] is None
    async with asking(service, "tenant_admin", "e1") as admin:
        assert (await admin.delete("/pipelines/revenue-kpi", headers=WAIT)).status_code == 200
        assert (await admin.get("/pipelines")).json()["items"] == []
        assert (await admin.get("/pipelines?deleted=true")).json()["items"][0]["deleted"] is True


async def test_a_contract_again_changes_nothing_and_other_content_is_refused(service: Service) -> None:
    await registered(service, "f1")
    async with asking(service, "developer", "f1") as developer:
        text = (SAMPLE / "revenue-kpi.odcs.yaml").read_text()
        again = await developer.post("/contracts", content=text, headers={"content-type": "application/yaml", **WAIT})
        assert (again.status_code, again.json()["event"]["data"]["reason"]) == (200, "same-content")
        other = await developer.post("/contracts", json=sample("revenue-kpi.odcs", domain="finance"), headers=WAIT)
        assert (other.status_code, other.json()["code"]) == (409, "contract-exists")
        shown = (await developer.get("/contracts/revenue-kpi/v3.2")).json()
        assert shown["document"] == sample("revenue-kpi.odcs")
        assert [one["name"] for one in (await developer.get("/contracts")).json()["items"]] == ["retail-transactions", "revenue-kpi"]


async def test_many_writers_at_once_all_get_their_own_outcome(service: Service) -> None:
    await created(service, "g1")
    async with asking(service, "operator", "g1") as operator:

        async def start(number: int) -> httpx.Response:
            order = {"partition": f"2025-10-{number % 28 + 1:02}", "run_id": f"many-{number // 2}"}
            return await operator.post("/pipelines/revenue-kpi/runs", json=order, headers=WAIT)

        answers = await asyncio.gather(*(start(number) for number in range(40)))
        assert sorted(answer.status_code for answer in answers) == [201] * 20 + [409] * 20
        taken = [json.loads(one.content)["event"]["data"]["run_id"] for one in answers if one.status_code == 201]
        assert sorted(taken) == sorted({f"many-{number}" for number in range(20)})
