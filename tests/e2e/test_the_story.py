"""The main job, end to end, as a user sees it."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import httpx
import pytest
from barecount_cli.errors import ProblemError

from tests.support.stack import Stack

RUN, REPLAY, DAY = "rev_kpi_20251004_01", "rev_kpi_20251004_01-replay-1", "2025-10-04"
RIGHT = {"run_id": RUN, "contract_version": "v3.2", "partition": DAY}

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("story")]


@pytest.mark.parametrize(
    ("change", "role", "tenant", "status", "code"),
    [
        ({"contract_version": "v9.9"}, "tenant_admin", "acme", 422, "unknown-contract-version"),
        ({"run_id": "rev_kpi_20991231_01"}, "tenant_admin", "acme", 404, "run-not-found"),
        ({"partition": "2025-10-05"}, "tenant_admin", "acme", 409, "partition-not-of-run"),
        ({}, "auditor", "acme", 403, "forbidden"),
        ({}, "developer", "acme", 403, "forbidden"),
    ],
)
def test_a_replay_asked_wrongly_is_refused_with_its_reason(
    product: Stack, change: dict[str, str], role: str, tenant: str, status: int, code: str
) -> None:
    with pytest.raises(ProblemError) as refused:
        product.client(role, tenant).write("POST", "/pipelines/replay", RIGHT | change, wait=30)
    assert (refused.value.status, refused.value.code) == (status, code)
    assert refused.value.document["remedy"]


def test_another_tenants_run_does_not_exist(product: Stack) -> None:
    other = product.client("tenant_admin", "globex")
    for path in (f"/runs/{RUN}", f"/runs/{RUN}/logs", f"/runs/{RUN}/metrics", f"/evidence/chain?run_id={RUN}", f"/lineage?run_id={REPLAY}"):
        known = other.http.get(path, headers={"Authorization": f"Bearer {other.token}"})
        unknown = other.http.get(path.replace("rev_kpi", "rev_xxx"), headers={"Authorization": f"Bearer {other.token}"})
        assert known.status_code == unknown.status_code == 404, path
        assert known.text == unknown.text.replace("rev_xxx", "rev_kpi"), path
    assert list(other.items("/runs")) == []


@pytest.mark.parametrize("path", ["/pipelines", "/runs", "/dlq", "/lineage?run_id=x", "/evidence", "/commands/x", "/checkpoint"])
def test_without_a_token_nothing_is_answered(product: Stack, path: str) -> None:
    answer = httpx.get(f"http://127.0.0.1:{product.port}{path}", trust_env=False)
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["code"] == "unauthenticated"


def test_the_failed_run_shows_why_and_published_nothing(product: Stack) -> None:
    operator = product.client("operator")
    run, metrics = operator.get(f"/runs/{RUN}"), operator.get(f"/runs/{RUN}/metrics")
    assert run["status"] == "failed"
    assert run["error"]["error_type"] == "reconciliation-failed"
    assert metrics["reconciled"] is False
    assert metrics["dead_lettered"] == len(list(operator.items("/dlq", run_id=RUN))) > 0
    assert [c["name"] for c in metrics["reconciliations"] if not c["holds"]]
    assert list(operator.items(f"/runs/{RUN}/logs", error_type="reconciliation-failed"))
    assert [item["publications"] for item in operator.items(f"/runs/{RUN}/partitions")] == [[]]


def test_the_replay_succeeded_and_reconciles_to_the_cent(product: Stack) -> None:
    operator = product.client("operator")
    run, metrics = operator.get(f"/runs/{REPLAY}"), operator.get(f"/runs/{REPLAY}/metrics")
    control = json.loads((product.data / "lake/acme/landing/transactions" / f"{DAY}.control.json").read_text())
    assert (run["status"], run["rerun_of"]) == ("succeeded", RUN)
    assert Decimal(metrics["error_rate"]) == 0
    assert metrics["dead_lettered"] == 0
    assert metrics["records_in"] == control["records"]
    sales = [c for c in metrics["reconciliations"] if c["expected"] == control["sales_value"]]
    assert sales
    assert all(Decimal(c["difference"]) == 0 and c["holds"] for c in sales)


def test_the_table_itself_holds_the_control_total_once(product: Stack) -> None:
    """Judged by the Delta table, not by the product's own figures."""
    import pyarrow.compute as pc
    from deltalake import DeltaTable

    [partition] = product.client("operator").items(f"/runs/{REPLAY}/partitions")
    [published] = partition["publications"]
    table = DeltaTable(str(next((product.data / "lake").rglob("prod/tables/revenue_kpi")))).to_pyarrow_table()
    # other tests publish other days
    rows = table.filter(pc.equal(table["day"], date.fromisoformat(DAY)))
    control = json.loads((product.data / "lake/acme/landing/transactions" / f"{DAY}.control.json").read_text())
    stores = rows.filter(pc.equal(rows["level"], "store"))
    assert pc.sum(stores["revenue"]).as_py() == Decimal(control["sales_value"])
    assert len(rows.filter(pc.equal(rows["level"], "total"))) == 1
    assert published["records"] == len(rows)


def test_the_chain_of_evidence_verifies_from_the_call_to_the_commit(product: Stack) -> None:
    shown = json.loads(product.run("evidence", "verify", "--run", REPLAY, "--output", "json").stdout)
    types = [link["record"]["type"] for link in shown["chain"]]
    for needed in (
        "ApiCalled",
        "ReplayRequested",
        "ReplayValidated",
        "ReplayApproved",
        "RunQueued",
        "DataPartitionPublished",
        "RunSucceeded",
    ):
        assert needed in types, f"{needed} is missing from {types}"
    assert {step["name"] for step in shown["steps"]} >= {"checkpoint", "continuity", "inclusion", "causes", "delta commit"}


def test_a_changed_table_commit_is_noticed_by_the_verifier(product: Stack) -> None:
    [partition] = product.client("operator").items(f"/runs/{REPLAY}/partitions")
    version = partition["publications"][0]["delta_version"]
    commit = next((product.data / "lake").rglob("prod/tables/revenue_kpi")) / "_delta_log" / f"{version:020}.json"
    original = commit.read_text()
    try:
        commit.write_text(original.replace(REPLAY, "somebody-else"))
        shown = product.run("evidence", "verify", "--run", REPLAY, check=False)
        assert shown.returncode == 1
        assert "does not name run" in shown.stderr
    finally:
        commit.write_text(original)


def test_every_refusal_of_the_story_is_a_leaf_of_the_ledger(product: Stack) -> None:
    auditor = product.client("auditor")
    codes = {record["facts"].get("problem_code") for record in auditor.items("/evidence", type="ApiCalled", outcome="refused")}
    assert codes >= {"unknown-contract-version", "run-not-found", "partition-not-of-run", "forbidden"}


def test_the_cli_lists_follows_and_shows_logs(product: Stack) -> None:
    assert REPLAY in product.run("runs").stdout
    assert "revenue-kpi" in product.run("pipelines").stdout
    followed = product.run("runs", RUN, "--follow", check=False)
    assert followed.returncode == 3, "a failed run ends --follow with exit code 3"
    assert "reconciliation-failed" in product.run("logs", RUN, "--level", "error").stdout
    assert product.run("token", "--role", "operator", "--tenant", "acme").stdout.count(".") == 2


def test_down_and_up_continue_where_they_were(product: Stack) -> None:
    before = product.client("operator").get(f"/runs/{REPLAY}")
    product.run("down")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{product.port}/health", trust_env=False)
    product.run("up", "--no-demo")
    assert product.client("operator").get(f"/runs/{REPLAY}") == before
    product.run("evidence", "verify", "--run", REPLAY)
