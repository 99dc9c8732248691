"""`barecount webhooks`: endpoints, their deliveries, their secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import typer

from . import output
from .client import Client
from .listening import listen
from .settings import CliSettings
from .writing import told

Function = TypeVar("Function", bound=Callable[..., Any])
Output = Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="table for people, json for programs")]
Role = Annotated[str | None, typer.Option("--role", help="Ask with this role (embedded issuer)")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Ask for this tenant (embedded issuer)")]
Endpoint = Annotated[str, typer.Argument(metavar="ID", help="As wh_0123…; `barecount webhooks list` shows them")]
Events = Annotated[str | None, typer.Option("--events", help="Types as run.failed, kinds as run.*, or *; with commas")]
Pipelines = Annotated[list[str] | None, typer.Option("--pipeline", help="Only events of this pipeline; may be repeated")]


def commands(explained: Callable[[Any], Any]) -> typer.Typer:
    """The group. explained: how the CLI shows what went wrong."""
    group = typer.Typer(no_args_is_help=True, help="Events delivered to your address, signed and retried.")
    for name, function in {
        "create": create, "list": list_, "show": show, "secret": secret, "rotate": rotate, "redeliver": redeliver, "enable": enable,
        "disable": disable, "delete": delete, "listen": listen,
    }.items():  # fmt: skip
        group.command(name)(explained(function))
    return group


def create(
    url: Annotated[str, typer.Argument(help="https; http and private addresses where the operator allows them")],
    events: Events = None,
    pipeline: Pipelines = None,
    description: Annotated[str, typer.Option()] = "",
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """Register an address. Without --events it gets run.succeeded, run.failed and drift.detected."""
    client = Client.of(CliSettings(), role=role, tenant=tenant)
    body: dict[str, Any] = {"url": url, "pipelines": pipeline or [], "description": description}
    if events is not None:
        body["event_types"] = split(events)
    made = client.write("POST", "/webhooks", body)
    return told(made, lambda data: f"{data['endpoint_id']}: see its secret with `barecount webhooks secret {data['endpoint_id']}`", output_)


def list_(role: Role = None, tenant: Tenant = None, output_: Output = "table") -> None:
    """List the endpoints, the oldest first."""
    client = Client.of(CliSettings(), role=role, tenant=tenant)
    found = sorted(client.items("/webhooks"), key=lambda one: str(one["created_at"]))
    if output_ == "json":
        return output.as_json(found)
    columns = ("id", "url", "events", "pipelines", "enabled")
    rows = [
        (one["endpoint_id"], one["url"], ", ".join(one["event_types"]), ", ".join(one["pipelines"]) or "all", one["enabled"])
        for one in found
    ]
    return output.table("Webhooks", columns, rows)


def show(
    endpoint: Endpoint,
    event: Annotated[str | None, typer.Option("--event", help="Every attempt to deliver this event")] = None,
    state: Annotated[str | None, typer.Option("--state", help="Only deliveries that are pending, succeeded or failed")] = None,
    limit: Annotated[int, typer.Option(help="How many of the newest deliveries")] = 20,
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """One endpoint: how it does, and its newest deliveries."""
    client = Client.of(CliSettings(), role=role, tenant=tenant)
    if event is not None:
        return _attempts(client.get(f"/webhooks/{endpoint}/deliveries/{event}"), output_)
    shown, health = client.get(f"/webhooks/{endpoint}"), client.get(f"/webhooks/{endpoint}/health")
    deliveries = client.get(f"/webhooks/{endpoint}/deliveries", state=state, limit=limit)["items"]
    if output_ == "json":
        return output.as_json({"endpoint": shown, "health": health, "deliveries": deliveries})
    rows = [("url", shown["url"]), ("events", ", ".join(shown["event_types"])), ("pipelines", ", ".join(shown["pipelines"]) or "all")]
    why = ("disabled_reason", "disabled_detail", "pending", "failed", "succeeded", "oldest_undelivered_at", "last_success_at")
    rows += [("state", health["state"]), *((name.replace("_", " "), health[name]) for name in why if health[name] is not None)]
    output.table(endpoint, ("", ""), rows)
    columns = ("event", "type", "state", "attempts", "status", "error", "at")
    return output.table(
        "Deliveries",
        columns,
        [
            (one["event_id"], one["event_type"], one["state"], one["attempts"], one["status"], one["error_type"], one["created_at"][:19])
            for one in deliveries
        ],
    )


def secret(endpoint: Endpoint, role: Role = None, tenant: Tenant = None, output_: Output = "table") -> None:
    """Print the secret that receivers verify with. The call is recorded."""
    found = Client.of(CliSettings(), role=role, tenant=tenant).get(f"/webhooks/{endpoint}/secret")
    if output_ == "json":
        return output.as_json(found)
    return typer.echo(found["secret"])


def rotate(
    endpoint: Endpoint,
    keep_hours: Annotated[int, typer.Option(help="How long the old secret signs beside the new one")] = 24,
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """Sign with a new secret."""
    body = {"keep_hours": keep_hours}
    answer = Client.of(CliSettings(), role=role, tenant=tenant).write("POST", f"/webhooks/{endpoint}/rotate", body)
    return told(answer, lambda data: f"rotated; the old secret signs too until {data['previous_until']}", output_)


def redeliver(
    endpoint: Endpoint,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The `webhook-id`")],
    role: Role = None,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """Send one event again, under the same id."""
    client = Client.of(CliSettings(), role=role, tenant=tenant)
    answer = client.write("POST", f"/webhooks/{endpoint}/redeliver", {"event_id": event})
    return told(answer, f"asked for; follow it with `barecount webhooks show {endpoint}`", output_)


def enable(endpoint: Endpoint, role: Role = None, tenant: Tenant = None, output_: Output = "table") -> None:
    """Deliver again, beginning with what came meanwhile."""
    return _switch(endpoint, True, role, tenant, output_)


def disable(endpoint: Endpoint, role: Role = None, tenant: Tenant = None, output_: Output = "table") -> None:
    """Deliver nothing until it is enabled; events wait for it."""
    return _switch(endpoint, False, role, tenant, output_)


def delete(endpoint: Endpoint, role: Role = None, tenant: Tenant = None, output_: Output = "table") -> None:
    """Deliver nothing more; the history stays."""
    answer = Client.of(CliSettings(), role=role, tenant=tenant).write("DELETE", f"/webhooks/{endpoint}")
    return told(answer, "deleted", output_)


def split(events: str) -> list[str]:
    return [one.strip() for one in events.split(",") if one.strip()]


def _switch(endpoint: str, enabled: bool, role: str | None, tenant: str | None, output_: str) -> None:
    answer = Client.of(CliSettings(), role=role, tenant=tenant).write("PUT", f"/webhooks/{endpoint}", {"enabled": enabled})
    return told(answer, "enabled" if enabled else "disabled", output_)


def _attempts(delivery: dict[str, Any], output_: str) -> None:
    if output_ == "json":
        return output.as_json(delivery)
    columns = ("attempt", "outcome", "started", "status", "error", "ms", "retry at", "detail")
    names = ("attempt", "outcome", "started_at", "status", "error_type", "duration_ms", "retry_at", "detail")
    rows = [tuple(one[name] for name in names) for one in delivery["attempt_list"]]
    return output.table(f"{delivery['event_type']} {delivery['event_id']}: {delivery['state']}", columns, rows)
