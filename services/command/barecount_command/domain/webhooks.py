"""Webhook endpoints: which there are, where they lead, what they want. Delivering is the relay's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from barecount_contracts import (
    CHANGES,
    CreateWebhook,
    DeleteWebhook,
    RedeliverWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
    WebhookCreated,
    WebhookDeleted,
    WebhookRedeliveryRequested,
    WebhookSecretRotated,
    WebhookUpdated,
    unknown_patterns,
)
from barecount_eventlog import Emit, Inbound
from immutables import Map

from .answers import refuse, unchanged

MOST_ENDPOINTS = 50

UrlCheck = Callable[[str], str | None]
"""Why an address cannot be delivered to, in words; None when it can. The installation's setting decides, so it is handed in."""

WebhookFact = WebhookCreated | WebhookUpdated | WebhookDeleted | WebhookSecretRotated


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that is not deleted, as its tenant wants it."""

    url: str
    event_types: tuple[str, ...]
    pipelines: tuple[str, ...]
    description: str
    enabled: bool
    key_version: int


Endpoints = Map[str, Endpoint]


def no_urls(url: str) -> str | None:
    """The check of a decider that was told of none."""
    return "this installation delivers no webhooks"


def create_webhook(endpoints: Endpoints, inbound: Inbound, command: CreateWebhook, check: UrlCheck) -> list[Emit]:
    refused = _refused(inbound, check, command.url, command.event_types)
    if refused:
        return refused
    if len(endpoints) >= MOST_ENDPOINTS:
        return refuse(inbound, "too-many-webhooks", f"the tenant has {len(endpoints)} endpoints; at most {MOST_ENDPOINTS} are allowed")
    created = WebhookCreated(
        endpoint_id=f"wh_{inbound.command.id.hex}",
        url=command.url,
        event_types=command.event_types,
        pipelines=command.pipelines,
        description=command.description,
    )
    return [Emit(created)]


def update_webhook(endpoints: Endpoints, inbound: Inbound, command: UpdateWebhook, check: UrlCheck) -> list[Emit]:
    held = endpoints.get(command.endpoint_id)
    if held is None:
        return _unknown(inbound, command.endpoint_id)
    wanted = replace(held, **{name: value for name in _CHANGED if (value := getattr(command, name)) is not None})
    refused = _refused(inbound, check, wanted.url if command.url is not None else None, wanted.event_types)
    if refused:
        return refused
    # the relay may have disabled it meanwhile, which this service does not read: to enable is always news
    if wanted == held and command.enabled is not True:
        return unchanged(inbound)
    updated = WebhookUpdated(
        endpoint_id=command.endpoint_id,
        url=wanted.url,
        event_types=wanted.event_types,
        pipelines=wanted.pipelines,
        description=wanted.description,
        enabled=wanted.enabled,
    )
    return [Emit(updated)]


def delete_webhook(endpoints: Endpoints, inbound: Inbound, command: DeleteWebhook) -> list[Emit]:
    if command.endpoint_id not in endpoints:
        return _unknown(inbound, command.endpoint_id)
    return [Emit(WebhookDeleted(endpoint_id=command.endpoint_id))]


def rotate_secret(endpoints: Endpoints, inbound: Inbound, command: RotateWebhookSecret) -> list[Emit]:
    held = endpoints.get(command.endpoint_id)
    if held is None:
        return _unknown(inbound, command.endpoint_id)
    until = inbound.now + timedelta(hours=command.keep_hours)
    return [Emit(WebhookSecretRotated(endpoint_id=command.endpoint_id, key_version=held.key_version + 1, previous_until=until))]


def redeliver_webhook(endpoints: Endpoints, inbound: Inbound, command: RedeliverWebhook) -> list[Emit]:
    """Asked for; whether there is such an event the relay finds in its own log."""
    if command.endpoint_id not in endpoints:
        return _unknown(inbound, command.endpoint_id)
    return [Emit(WebhookRedeliveryRequested(endpoint_id=command.endpoint_id, event_id=command.event_id))]


def evolve_endpoints(endpoints: Endpoints, fact: WebhookFact) -> Endpoints:
    """The endpoints after the event."""
    match fact:
        case WebhookCreated():
            made = Endpoint(fact.url, fact.event_types, fact.pipelines, fact.description, True, fact.key_version)
            return endpoints.set(fact.endpoint_id, made)
        case WebhookUpdated():
            changed = {name: getattr(fact, name) for name in _CHANGED}
            return endpoints.set(fact.endpoint_id, replace(endpoints[fact.endpoint_id], **changed))
        case WebhookSecretRotated():
            return endpoints.set(fact.endpoint_id, replace(endpoints[fact.endpoint_id], key_version=fact.key_version))
        case WebhookDeleted():
            return endpoints.delete(fact.endpoint_id)


def dump_endpoint(endpoint: Endpoint) -> list[object]:
    """For the snapshot."""
    return [
        endpoint.url,
        list(endpoint.event_types),
        list(endpoint.pipelines),
        endpoint.description,
        endpoint.enabled,
        endpoint.key_version,
    ]


def load_endpoint(raw: list[object]) -> Endpoint:
    url, types, pipelines, *rest = raw
    return Endpoint(url, tuple(types), tuple(pipelines), *rest)  # type: ignore[arg-type]


_CHANGED = ("url", "event_types", "pipelines", "description", "enabled")


def _refused(inbound: Inbound, check: UrlCheck, url: str | None, patterns: tuple[str, ...]) -> list[Emit]:
    why = None if url is None else check(url)
    if why is not None:
        return refuse(inbound, "invalid-webhook-url", why[:2000])
    unknown = unknown_patterns(patterns)
    if unknown:
        return refuse(inbound, "unknown-event-type", f"no event has the type {', '.join(unknown)}"[:2000], exists=sorted(CHANGES))
    return []


def _unknown(inbound: Inbound, endpoint_id: str) -> list[Emit]:
    return refuse(inbound, "webhook-not-found", f"there is no webhook endpoint {endpoint_id}")
