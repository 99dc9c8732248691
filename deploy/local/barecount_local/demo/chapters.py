"""The main job: contracts, a manifest, a day that fails for a real cause, its replay, and refusals."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import yaml
from barecount_cli.client import Client
from barecount_cli.errors import ProblemError
from barecount_cli.verify import verify_chain
from barecount_contracts import PLATFORM

from .telling import CONTRACT_VERSION, DAY, OTHER_TENANT, PIPELINE, TENANT, Story, ask_for_replay, ended, figures, waits

RUN_ID = "rev_kpi_20251004_{number:02}"


def contracts(story: Story) -> None:
    from barecount_local import sample

    story.title("Contracts: the retail transactions' and the Revenue KPI's are registered; a manifest without one is refused")
    developer = story.client("developer")
    for name in sample.CONTRACTS:
        document = yaml.safe_load(sample.document(name))
        developer.write("POST", "/contracts", document)
        story.done("POST /contracts", f"{document.get('name') or document['id']} {document['version']} (ODCS {document['apiVersion']})")
    unknown = yaml.safe_load(sample.document(sample.MANIFEST))
    unknown["name"], unknown["sinks"][0]["contract"]["version"] = f"{PIPELINE}-next", "v4.0"
    error = story.refused("POST /pipelines", "unknown-contract-version", lambda: developer.write("POST", "/pipelines", unknown))
    exists = error.document.get("extra", {}).get("exists", [])
    names = ", ".join(f"{one['name']} {one['version']}" for one in exists)
    story.says(f"what exists: {names}")


def manifest(story: Story) -> None:
    from barecount_local import sample

    story.title("A developer creates the manifest revenue-kpi and promotes it from dev to prod")
    developer = story.client("developer")
    body = yaml.safe_load(sample.document(sample.MANIFEST))
    try:
        created = developer.write("POST", "/pipelines", body)
        story.done("POST /pipelines", f"version {created['event']['data']['version']} in dev, {created['event']['data']['digest'][:19]}…")
    except ProblemError as error:
        story.claim(error.code == "pipeline-exists", "a new pipeline, or the one of an earlier telling", error.message)
        story.says("the pipeline exists from an earlier telling")
    try:
        developer.write("POST", f"/pipelines/{PIPELINE}/promote", {"from": "dev", "to": "prod"})
        story.done(f"POST /pipelines/{PIPELINE}/promote", "dev → prod")
    except ProblemError as error:
        story.claim(error.code == "nothing-to-promote", "a promotion, or the one of an earlier telling", error.message)
        story.says("prod runs that version already")


def failing_run(story: Story) -> None:
    from barecount_local import sample

    story.title(f"An operator runs {DAY}; its landing file arrived truncated and with malformed rows")
    operator = story.client("operator")
    landed = sample.deliver(story.lake, TENANT, DAY, damaged=True)
    story.control = landed.sales_value
    size = landed.data.stat().st_size
    story.says(f"landed {landed.data.name}: {size:,} bytes; the control total is {landed.records:,} records, {landed.sales_value}")
    for number in range(1, 100):
        story.run_id = RUN_ID.format(number=number)
        try:
            operator.write("POST", f"/pipelines/{PIPELINE}/runs", {"partition": str(DAY), "run_id": story.run_id})
            break
        except ProblemError as error:
            story.claim(error.code == "run-exists", "a run", error.message)
    story.done(f"POST /pipelines/{PIPELINE}/runs", f"run {story.run_id}, partition {DAY}")
    run = ended(operator, story.run_id)
    story.claim(run["status"] == "failed", "the run to fail", run["status"])
    story.done(f"GET /runs/{story.run_id}", f"{run['status']} in stage {run['error']['stage']}: {run['error']['error_type']}")
    metrics = operator.get(f"/runs/{story.run_id}/metrics")
    story.done(f"GET /runs/{story.run_id}/metrics", figures(metrics))
    for check in metrics["reconciliations"]:
        if not check["holds"]:
            story.says(f"  {check['name']}: expected {check['expected']}, actual {check['actual']}, difference {check['difference']}")
    # logs and dead letters are other topics than the run's end: no order is promised across them
    errors = waits(lambda: list(operator.items(f"/runs/{story.run_id}/logs", level="error")), "an error in the logs")
    story.done(
        f"GET /runs/{story.run_id}/logs?level=error",
        f"{errors[-1]['stage']} / {errors[-1]['error_type']}: {errors[-1]['fields']['message'][:110]}…",
    )
    dead = waits(partial(_all_dead_letters, operator, story.run_id, metrics["dead_lettered"]), f"{metrics['dead_lettered']} dead letters")
    first = dead[0]
    story.done(
        f"GET /dlq?run_id={story.run_id}",
        f"{len(dead)} records, as line {first['source']['line']}: {first['error_type']}, {first['reason']}",
    )
    published = [item for item in operator.items(f"/runs/{story.run_id}/partitions") if item["publications"]]
    story.claim(published == [], "nothing published", published)
    story.done(f"GET /runs/{story.run_id}/partitions", "nothing was published")


def replay(story: Story) -> None:
    from barecount_local import sample

    story.title("The landing file is delivered again, whole; a tenant admin asks for the replay")
    landed = sample.deliver(story.lake, TENANT, DAY)
    story.says(f"landed {landed.data.name}: {landed.data.stat().st_size:,} bytes")
    admin = story.client("tenant_admin")
    body = {"run_id": story.run_id, "contract_version": CONTRACT_VERSION, "partition": str(DAY)}
    asked, event = ask_for_replay(admin, body)
    story.claim(event["type"] == "ReplayApproved", "ReplayApproved", event)
    command = admin.get(f"/commands/{asked}")
    validated = next(e["data"] for e in command["events"] if e["type"] == "ReplayValidated")
    facts = validated["facts"]
    story.done("POST /pipelines/replay", f"run_id {story.run_id}, contract_version {CONTRACT_VERSION}, partition {DAY}")
    story.says(
        f"validated: leaf {facts['leaf_index']} ({facts['status']}, {facts['contract']['version']}, manifest v{facts['manifest_version']}) "
        f"is proven under root {facts['root_hash'][:16]}… of {facts['tree_size']:,} leaves"
    )
    approved = event["data"]
    story.replay_id = approved["new_run_id"]
    story.says(f"approved by {approved['by']}: {approved['rule']}; the plan is {approved['plan_digest'][:19]}…, the run {story.replay_id}")


def confirmation(story: Story) -> None:
    story.title("Observability confirms: succeeded, reconciled to the cent, and the evidence holds")
    operator, auditor = story.client("operator"), story.client("auditor")
    run = ended(operator, story.replay_id)
    story.claim(run["status"] == "succeeded", "the replay to succeed", run)
    story.done(f"GET /runs/{story.replay_id}", f"{run['status']}, replay of {run['rerun_of']}")
    metrics = operator.get(f"/runs/{story.replay_id}/metrics")
    story.claim(Decimal(metrics["error_rate"]) == 0 and metrics["reconciled"], "error rate 0 and reconciled output", metrics)
    story.done(f"GET /runs/{story.replay_id}/metrics", figures(metrics))
    totals = [c for c in metrics["reconciliations"] if Decimal(c["expected"]) == story.control]
    story.claim(all(Decimal(c["difference"]) == 0 for c in totals) and bool(totals), f"the control total {story.control} met", totals)
    for check in metrics["reconciliations"]:
        story.says(f"  {check['name']}: expected {check['expected']}, actual {check['actual']}, difference {check['difference']}")
    [published] = operator.items(f"/runs/{story.replay_id}/partitions")
    [made] = published["publications"]
    shown = f"{published['data_partition']} is version {made['delta_version']} of {made['table']}, {made['records']} rows"
    story.done(f"GET /runs/{story.replay_id}/partitions", shown)
    graph = waits(lambda: _graph(auditor, story.replay_id), "the lineage of the replay")
    story.done(f"GET /lineage?run_id={story.replay_id}", " ← ".join(graph))
    steps, links = verify_chain(auditor, story.settings, story.replay_id)
    story.done(f"barecount evidence verify --run {story.replay_id}", f"{len(links)} records, from the HTTP call to the Delta commit")
    for step in steps:
        story.says(f"  ✓ {step.name}: {step.detail}")


def refusals(story: Story) -> None:
    story.title("The same replay, asked wrongly, is refused; each refusal is in the ledger")
    admin = story.client("tenant_admin")
    right = {"run_id": story.run_id, "contract_version": CONTRACT_VERSION, "partition": str(DAY)}
    cases: tuple[tuple[str, str, Client, str, dict[str, str]], ...] = (
        ("contract v9.9", "unknown-contract-version", admin, TENANT, {"contract_version": "v9.9"}),
        ("an unknown run", "run-not-found", admin, TENANT, {"run_id": "rev_kpi_20991231_01"}),
        ("a partition that the run never had", "partition-not-of-run", admin, TENANT, {"partition": "2025-10-05"}),
        ("another tenant's token", "unknown-contract-version", story.client("tenant_admin", OTHER_TENANT), OTHER_TENANT, {}),
        ("a role without the permission", "forbidden", story.client("auditor"), TENANT, {}),
        ("no token", "unauthenticated", story.client(None), PLATFORM, {}),
    )
    leaves = 0
    for what, code, client, tenant, change in cases:
        before = refused_calls(story, tenant)
        story.refused(f"replay with {what}", code, partial(ask_for_replay, client, right | change))
        # callers without a token who come in floods are counted together, once a minute
        leaves += len(waits(partial(_newer, story, tenant, before), f"the refusal of {what} in the ledger", seconds=75))
    story.done("GET /evidence?type=ApiCalled&outcome=refused", f"{leaves} new leaves of the ledger: each refusal is recorded")


def _all_dead_letters(client: Client, run_id: str, count: int) -> list[dict[str, Any]]:
    """The run's dead letters once all are there; empty until then."""
    found = list(client.items("/dlq", run_id=run_id))
    return found if len(found) == count else []


def refused_calls(story: Story, tenant: str) -> set[int]:
    """Leaf indexes of a tenant's refused calls; calls without a valid token belong to the platform."""
    return {record["leaf_index"] for record in story.client("auditor", tenant).items("/evidence", type="ApiCalled", outcome="refused")}


def _newer(story: Story, tenant: str, before: set[int]) -> set[int]:
    return refused_calls(story, tenant) - before


def _graph(client: Client, run_id: str) -> list[str]:
    """The way from the table's data partition back to the landing file, by names; empty while lineage does not know the run's output."""
    try:
        graph = client.get("/lineage", run_id=run_id, depth=1)
    except ProblemError as error:
        if error.code == "not-found":
            return []
        raise
    names = {node["id"]: node for node in graph["nodes"]}
    run = f"run:{run_id}"
    outputs = [names[edge["to"]]["name"] for edge in graph["edges"] if edge["from"] == run and names[edge["to"]]["kind"] == "dataset"]
    causes = [names[edge["from"]] for edge in graph["edges"] if edge["to"] == run]
    made_by = [
        f"{node['kind']} {node.get('pipeline') or node['name']} {node['version']}"
        for node in causes
        if node["kind"] in ("manifest", "contract")
    ]
    files = [node["name"] for node in causes if node["kind"] == "dataset" and node["name"].endswith(".csv")]
    return [*outputs, f"{run_id} ({', '.join(made_by)})", *files] if outputs and files else []
