"""The lineage service over HTTP, on the catalogue's topics: from the KPI back to the landing file, and what another tenant sees."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from barecount_chassis import Settings
from barecount_contracts import ContractRegistered, PipelineCreated
from barecount_lineage.app import build

from tests.integration.lineage.kit import DAY, KPI, LANDING, TABLE, event_of, life
from tests.support.lineage import CONTRACTS, MANIFEST
from tests.support.servers import Kafka, Postgres
from tests.support.service import Service, appending, running, settings

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
async def service(furnished_kafka: Kafka, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    await postgres.furnish()
    given = settings(Settings, "lineage", furnished_kafka, postgres, Path(tmp_path_factory.mktemp("lineage")))
    async with running(build, given) as service:
        yield service


@pytest.fixture(scope="module")
async def runs(service: Service, furnished_kafka: Kafka) -> tuple[str, str]:
    """A run and its replay, on the manifest and contract that the control log tells."""
    first, second = f"run-{secrets.token_hex(3)}", f"replay-{secrets.token_hex(3)}"
    async with appending(furnished_kafka, "command") as appender:
        contract = CONTRACTS[1]
        registered = ContractRegistered(
            name=contract["name"], version=contract["version"], digest="sha256:c", document=contract, schemas={}, subjects={}
        )
        await appender.append("control.events", "acme", event_of(registered))
        for version in (1, 2):
            created = PipelineCreated(name="revenue-kpi", version=version, digest="sha256:m", manifest=MANIFEST)
            await appender.append("control.events", "acme", event_of(created))
    async with appending(furnished_kafka, "execution") as appender:
        for payload in [*life(first, delta_version=1), *life(second, rerun_of=first, delta_version=2)]:
            await appender.append("runs.events", "default", event_of(payload))
    async with service.client() as client:
        await answered(client, f"/lineage/runs/{second}/events", lambda body: len(body["items"]) == 2)
    return first, second


async def answered(
    client: httpx.AsyncClient, path: str, enough: Any = lambda body: True, seconds: float = 30, **query: Any
) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while True:
        answer = await client.get(path, params=query)
        if answer.status_code == 200 and enough(answer.json()):
            body: dict[str, Any] = answer.json()
            return body
        assert time.monotonic() < deadline, f"{path} {query}: {answer.status_code} {answer.text}"
        await asyncio.sleep(0.05)


async def test_another_tenants_lineage_and_none_get_the_same_answer(service: Service, runs: tuple[str, str]) -> None:
    run, paths = runs[0], ("/lineage?run_id={}", "/lineage?dataset={}", "/lineage/columns?dataset={}", "/lineage/runs/{}/events")
    async with service.client(tenant="bcme") as other:
        for path in paths:
            there = KPI if "dataset" in path else run
            hidden, absent = await other.get(path.format(there)), await other.get(path.format("none"))
            assert hidden.status_code == absent.status_code == 404
            assert hidden.json()["detail"].replace(there, "none") == absent.json()["detail"]


async def test_a_question_without_a_thing_is_refused(service: Service) -> None:
    async with service.client() as client:
        for query in ({}, {"run_id": "x", "dataset": "y"}, {"run_id": "x", "depth": 99}, {"dataset": "x", "direction": "sideways"}):
            assert (await client.get("/lineage", params=query)).status_code == 422


async def test_a_role_without_the_permission_is_refused(service: Service) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://test") as nobody:
        assert (await nobody.get("/lineage", params={"run_id": "x"})).status_code == 401


async def test_the_way_leads_from_the_kpi_back_to_the_landing_file(service: Service, runs: tuple[str, str]) -> None:
    async with service.client() as client:
        graph = await answered(client, "/lineage", lambda body: any(e["kind"] == "wrote" for e in body["edges"]), dataset=KPI)
    edges = {(edge["from"], edge["to"], edge["kind"]): edge for edge in graph["edges"]}
    newest = f"run:{runs[1]}"
    wrote = edges[newest, f"dataset:file:{KPI}", "wrote"]
    assert (wrote["version"], wrote["rows"]) == ("2", 5)
    read = edges[f"dataset:file:{LANDING}", newest, "read"]
    assert (read["version"], read["rows"]) == ("sha256:f", 9)
    assert (f"run:{runs[0]}", newest, "replayed") in edges
    assert ("manifest:revenue-kpi@2", newest, "ran") in edges
    assert ("contract:revenue-kpi@v3.2", newest, "bound") in edges
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert nodes["manifest:revenue-kpi@2"]["registered"]["digest"] == "sha256:m"
    assert nodes["contract:revenue-kpi@v3.2"]["registered"]["digest"] == "sha256:c"
    assert nodes[f"dataset:file:{KPI}"]["table"] == f"file:{TABLE}"
    assert nodes[newest]["status"] == "succeeded"


async def test_a_table_stands_for_its_data_partitions(service: Service, runs: tuple[str, str]) -> None:
    async with service.client() as client:
        by_table = await answered(client, "/lineage", dataset=TABLE)
        by_partition = await answered(client, "/lineage", dataset=f"file:{KPI}")
    assert by_table["edges"] == by_partition["edges"]


async def test_downstream_of_the_landing_file_stands_the_kpi(service: Service, runs: tuple[str, str]) -> None:
    async with service.client() as client:
        graph = await answered(client, "/lineage", dataset=LANDING, direction="downstream")
    assert {edge["from"] for edge in graph["edges"] if edge["kind"] == "wrote"} == {f"run:{run}" for run in runs}


async def test_a_run_shows_what_it_read_and_wrote(service: Service, runs: tuple[str, str]) -> None:
    async with service.client() as client:
        graph = await answered(client, "/lineage", run_id=runs[0])
    kinds = {(edge["kind"], edge["to"] if edge["kind"] == "wrote" else edge["from"]) for edge in graph["edges"]}
    assert {("read", f"dataset:file:{LANDING}"), ("wrote", f"dataset:file:{KPI}")} <= kinds


async def test_revenue_is_the_sum_of_sales_values(service: Service, runs: tuple[str, str]) -> None:
    async with service.client() as client:
        (item,) = (await answered(client, "/lineage/columns", dataset=KPI, column="revenue"))["items"]
    (source,) = item["inputs"]
    assert (source["dataset"], source["field"]) == (f"file:{LANDING}", "sales_value")
    assert source["transformations"][0]["subtype"] == "AGGREGATION"
    assert {row["field"] for row in item["rows"]} >= {"store_id"}
    assert item["run_id"] == runs[1]
    assert DAY in item["dataset"]
