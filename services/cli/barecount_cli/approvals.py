"""`barecount approvals`, `approve` and `reject`: people decide about what waits, and see exactly what they decide about."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from . import output
from .client import Client
from .errors import ProblemError
from .settings import CliSettings
from .writing import told

Reason = Annotated[str, typer.Option("--reason", "-m", help="Why: it stands in the evidence")]
Digest = Annotated[
    str | None, typer.Option("--plan-digest", help="Decide only if the request shows this plan; otherwise the one shown now")
]
User = Annotated[str | None, typer.Option("--user", help="Decide as this person (embedded issuer): nobody decides their own request")]
Role = Annotated[str | None, typer.Option("--role", help="Ask with this role (embedded issuer); otherwise governance")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Ask for this tenant (embedded issuer)")]
Output = Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="table for people, json for programs")]


def approvals(
    state: Annotated[str, typer.Option(help="waiting, approved, rejected, refused, pending, or all")] = "waiting",
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """List the replays that wait for a person, oldest first."""
    client = _client(role, tenant, None)
    found = list(client.items("/governance/approvals", state=None if state == "all" else state))
    if output_ == "json":
        return output.as_json(found)
    if not found:
        return output.console.print("Nothing waits." if state == "waiting" else f"No request is {state}.")
    columns = ("request", "state", "run", "partition", "contract", "asked by", "at", "why")
    rows = [
        (
            r["request_id"],
            r["state"],
            r["run_id"],
            r["data_partition"],
            r["contract_version"],
            r["requested_by"],
            r["requested_at"],
            _why(r),
        )
        for r in found
    ]
    return output.table("Requests", columns, rows)


def approve(
    request_id: str,
    reason: Reason,
    plan_digest: Digest = None,
    user: User = None,
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """Approve a request of somebody else: its plan is shown, and that plan runs or none."""
    _decide("approve", request_id, reason, plan_digest, _client(role, tenant, user), output_)


def reject(
    request_id: str,
    reason: Reason,
    plan_digest: Digest = None,
    user: User = None,
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """Reject a request of somebody else. Nothing runs, and the reason is kept."""
    _decide("reject", request_id, reason, plan_digest, _client(role, tenant, user), output_)


def _decide(decision: str, request_id: str, reason: str, plan_digest: str | None, client: Client, shape: str) -> None:
    request = _request(client, request_id)
    if shape != "json":
        _show(request)
    body = {
        "request_id": request_id,
        "decision": decision,
        "reason": reason,
        "plan_digest": plan_digest or request["plan_digest"] or "none",
    }
    try:
        answer = client.write("POST", "/governance/decisions", body)
    except ProblemError as error:
        difference = error.document.get("extra", {}).get("difference") or {}
        if difference and shape != "json":
            output.table("Changed since", ("", "was", "is"), [(name, one["was"], one["is"]) for name, one in difference.items()])
        raise
    return told(answer, lambda data: f"[green]✓[/green] {_said(data)}", shape)


def _said(data: dict[str, Any]) -> str:
    return f"approved: run {data['new_run_id']} does it" if data.get("new_run_id") else "rejected"


def _request(client: Client, request_id: str) -> dict[str, Any]:
    return client.get(f"/governance/approvals/{request_id}")


def _show(request: dict[str, Any]) -> None:
    plan = request.get("plan") or {}
    contract = plan.get("contract") or {}
    rows = [
        ("request", request["request_id"]),
        ("asked by", f"{request['requested_by']} at {request['requested_at']}"),
        ("because", _why(request)),
        ("replays", f"{request['run_id']}, {request['data_partition']} in {plan.get('environment')}"),
        ("pipeline", f"{plan.get('pipeline')}, manifest version {plan.get('manifest_version')} {plan.get('manifest_digest')}"),
        ("contract", f"{contract.get('name')} {contract.get('version')}"),
        ("plan", request["plan_digest"]),
    ]
    output.table("What would run", ("", ""), rows)


def _why(request: dict[str, Any]) -> str:
    return str(request.get("detail") or request.get("reason") or "")


def _client(role: str | None, tenant: str | None, user: str | None) -> Client:
    settings = CliSettings()
    if settings.token and (role, tenant, user) == (None, None, None):
        return Client.of(settings)
    return Client.of(settings, role=role or "governance", tenant=tenant, user=user)
