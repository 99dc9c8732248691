"""`barecount`: what a person does at a terminal. Every verb is one call of the public API, or says which calls it makes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import typer

from . import api, approvals, dashboard, output, publish, verify, watch, webhooks
from .client import Client
from .errors import RUN_CANCELLED, RUN_FAILED, CliError, ProblemError
from .settings import CliSettings
from .tokens import issue
from .writing import decided, told

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Pipelines, runs, replays and their evidence.")
evidence = typer.Typer(no_args_is_help=True, help="The ledger: what happened, proven.")
app.add_typer(evidence, name="evidence")

P = ParamSpec("P")
R = TypeVar("R")
Output = Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="table for people, json for programs")]
Role = Annotated[str | None, typer.Option("--role", help="Ask with this role (embedded issuer)")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Ask for this tenant (embedded issuer)")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="As it was then: a time with zone as 2026-11-25T10:00:00Z, or a position as control.events/1@57"),
]


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """A CliError becomes two lines on stderr and its exit code; anything else is a bug and keeps its traceback."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except CliError as error:
            output.problem(error)
            raise typer.Exit(error.exit_code) from error

    return wrapped


@app.command()
@explained
def token(
    role: Annotated[
        str, typer.Option(help="developer, operator, governance, tenant_admin or auditor; several with commas")
    ] = "tenant_admin",
    tenant: Annotated[str, typer.Option()] = "acme",
    user: Annotated[str, typer.Option(help="Who the token names")] = "cli",
    ttl: Annotated[int, typer.Option(help="Seconds until it expires")] = 3600,
) -> None:
    """Issue a token of the embedded stack's issuer and print it."""
    typer.echo(issue(CliSettings().keys, user=user, tenant=tenant, role=role, ttl_seconds=ttl))


@app.command()
@explained
def pipelines(
    name: Annotated[str | None, typer.Argument()] = None,
    as_of: AsOf = None,
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """List pipelines, or show one with its history."""
    client = Client.of(CliSettings(), role=role, tenant=tenant)
    if name is None:
        only_one(as_of, "pipelines NAME")
        found = list(client.items("/pipelines"))
        if output_ == "json":
            return output.as_json(found)
        columns = ("name", "newest", "dev", "staging", "prod", "owner")
        rows = [
            (p["name"], p.get("version"), *(p.get("environments", {}).get(env) for env in ("dev", "staging", "prod")), p.get("owner"))
            for p in found
        ]
        return output.table("Pipelines", columns, rows)
    shown = as_it_was(client, f"/pipelines/{name}", as_of)
    history = as_it_was(client, f"/pipelines/{name}/history", as_of)
    if output_ == "json":
        return output.as_json({"pipeline": shown, "history": history["items"]})
    output.console.print_json(json.dumps(shown))
    rows = [
        (h.get("time"), h.get("type"), h.get("version"), h.get("environment") or h.get("to_environment"), h.get("principal"))
        for h in history["items"]
    ]
    return output.table("History", ("time", "event", "version", "environment", "by"), rows)


@app.command()
@explained
def runs(
    run_id: Annotated[str | None, typer.Argument()] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show each change until the run has ended")] = False,
    pipeline: Annotated[str | None, typer.Option()] = None,
    status: Annotated[str | None, typer.Option()] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that --follow waits")] = 120.0,
    as_of: AsOf = None,
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """List runs, or show one. With --follow the exit code is the run's: 0 succeeded, 3 failed, 4 cancelled."""
    client = Client.of(CliSettings(), role=role, tenant=tenant)
    if run_id is None:
        only_one(as_of, "runs RUN")
        found = list(client.items("/runs", pipeline=pipeline, status=status))
        if output_ == "json":
            return output.as_json(found)
        rows = [(r["run_id"], r["pipeline"], ", ".join(r.get("data_partitions", [])), r["status"], r.get("rerun_of")) for r in found]
        return output.table("Runs", ("run", "pipeline", "partition", "status", "replay of"), rows)
    if follow and as_of is not None:
        raise CliError("what is over cannot be followed", "Give either --follow or --as-of.")
    if follow:
        for run in client.follow_run(run_id, timeout=timeout):
            stages = " ".join(f"{s['stage']}:{s['status']}" for s in run.get("stages", []))
            output.errors.print(f"{run['status']:<10} {stages}", highlight=False)
    shown = as_it_was(client, f"/runs/{run_id}", as_of)
    if output_ == "json":
        output.as_json(shown)
    else:
        show_run(shown, as_it_was(client, f"/runs/{run_id}/metrics", as_of))
    if follow and shown["status"] != "succeeded":
        raise typer.Exit({"failed": RUN_FAILED, "cancelled": RUN_CANCELLED}.get(shown["status"], 1))
    return None


def only_one(as_of: str | None, verb: str) -> None:
    """Raises: CliError for a list as of then."""
    if as_of is not None:
        raise CliError("--as-of shows one thing as it was, not a list", f"Name it: barecount {verb} --as-of {as_of}")


def as_it_was(client: Client, path: str, as_of: str | None) -> dict[str, Any]:
    """The thing at a path, now or at a moment. Raises: ProblemError; of a thing that was not there then, with what to try."""
    try:
        return client.get(path, as_of=as_of)
    except ProblemError as error:
        if as_of is not None and error.status == 404:
            error.remedy = f"As of {as_of} there was none of that name: give a later moment, or leave --as-of out for what is there now."
        raise


def show_run(run: dict[str, Any], metrics: dict[str, Any]) -> None:
    """One run as a person wants to see it: state, figures, stages, and the reconciliation."""
    rows: list[tuple[str, Any]] = [("run", run["run_id"]), ("status", run["status"]), ("pipeline", run["pipeline"])]
    rows += [("partition", ", ".join(run.get("data_partitions", []))), ("replay of", run.get("rerun_of"))]
    rows += [
        (name.replace("_", " "), metrics.get(name))
        for name in ("duration_ms", "records_in", "records_out", "dead_lettered", "error_rate", "reconciled")
    ]
    if run.get("error"):
        rows.append(("error", f"{run['error'].get('stage')}: {run['error'].get('error_type')} – {run['error'].get('message')}"))
    output.table("Run", ("", ""), [row for row in rows if row[1] not in (None, "")])
    checks = metrics.get("reconciliations") or []
    if checks:
        columns = ("reconciliation", "expected", "actual", "difference", "holds")
        output.table("Reconciliation", columns, [(c["name"], c["expected"], c["actual"], c["difference"], c["holds"]) for c in checks])


@app.command()
@explained
def replay(
    run_id: str,
    contract_version: Annotated[str, typer.Option("--contract-version", help="The output contract's version that the run ran under")],
    partition: Annotated[str, typer.Option("--partition", help="The data partition, as 2025-10-04")],
    manifest_version: Annotated[str, typer.Option(help="as_run, latest, or a number")] = "as_run",
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """Run a run's data partition again, after the ledger has proven what happened."""
    client = Client.of(CliSettings(), role=role, tenant=tenant)
    body = {"run_id": run_id, "contract_version": contract_version, "partition": partition, "manifest_version": manifest_version}
    answer = client.write("POST", "/pipelines/replay", body)
    if output_ == "json" and not follow:
        return told(answer, "", output_)
    asked, type_ = decided(answer), answer["event"]["type"]
    if type_ == "ApprovalRequested":
        output.console.print(f"waits for a person ({asked['rule']}): {asked['reason']}", highlight=False, soft_wrap=True)
        decide = f"Somebody else decides: barecount approve {asked['request_id']} --reason …"
        return output.console.print(decide, highlight=False, soft_wrap=True)
    if type_ != "ReplayApproved":
        return output.console.print(f"{answer['status']}: follow {answer['links']['command']}", highlight=False, soft_wrap=True)
    output.errors.print(f"approved by {asked['by']} ({asked['rule']}): {asked['new_run_id']}", highlight=False)
    if follow:
        return runs(asked["new_run_id"], follow=True, role=role, tenant=tenant, output_=output_)
    return None


@app.command()
@explained
def logs(
    run_id: str,
    stage: Annotated[str | None, typer.Option()] = None,
    error_type: Annotated[str | None, typer.Option("--error-type")] = None,
    level: Annotated[str, typer.Option(help="This level and above: debug, info, warning or error")] = "info",
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """The log lines of a run, by stage and error type; with --output json one object a line."""
    client = Client.of(CliSettings(), role=role, tenant=tenant)
    for line in client.items(f"/runs/{run_id}/logs", stage=stage, error_type=error_type, level=level):
        if output_ == "json":
            typer.echo(json.dumps(line, ensure_ascii=False))
        else:
            output.log_line(line)


@evidence.command("verify")
@explained
def evidence_verify(
    run_id: Annotated[str | None, typer.Option("--run", help="Verify the whole chain of this run, down to the table's commit")] = None,
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """Check the ledger's newest checkpoint, and a run's chain under it, with independent arithmetic on this machine."""
    settings = CliSettings()
    client = Client.of(settings, role=role, tenant=tenant)
    links: list[verify.Link] = []
    if run_id is None:
        steps = list(verify.verify_ledger(client, settings))
    else:
        steps, links = verify.verify_chain(client, settings, run_id)
    if output_ == "json":
        return output.as_json({"holds": True, "steps": [vars(step) for step in steps], "chain": [vars(link) for link in links]})
    if links:
        show_chain(links)
    for step in steps:
        output.console.print(f"[green]✓[/green] {step.name}: {step.detail}", highlight=False)
    return None


def show_chain(links: list[verify.Link]) -> None:
    rows = [
        (
            link.index,
            link.record["at"][:23],
            link.record["type"],
            (link.record.get("subject") or {}).get("id"),
            link.record["outcome"],
            link.record.get("principal"),
        )
        for link in links
    ]
    output.table("Chain of evidence", ("leaf", "at", "record", "about", "outcome", "by"), rows)


@evidence.command("proof")
@explained
def evidence_proof(index: int, out: Annotated[Path | None, typer.Option(help="Write the answer to this file")] = None) -> None:
    """The inclusion proof of one leaf, as the API gives it."""
    answer = Client.of(CliSettings()).get("/evidence/proof", index=index)
    if out is None:
        return output.as_json(answer)
    out.write_text(json.dumps(answer, indent=2) + "\n")
    return None


app.command()(explained(api.api))
app.add_typer(webhooks.commands(explained), name="webhooks")
app.add_typer(publish.commands(explained), name="publishers")
app.command()(explained(publish.publish))
app.command()(explained(dashboard.dashboard))
app.command()(explained(watch.watch))
for _verb in (approvals.approvals, approvals.approve, approvals.reject):
    app.command()(explained(_verb))


def main() -> None:
    app()
