"""Webhooks: endpoints as the command service decides them, and what the relay writes about each attempt to deliver."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from .message import Message, message

ENDPOINT = "The endpoint: `wh_` and the hex of the command that created it"
PATTERNS = "Public event types of barecount_contracts.CHANGES, exact or by kind as `run.*`; `*` is all"
EVENT = "The id of the event: `ce_id` in state.changes, `webhook-id` at the receiver"
DEFAULT_EVENT_TYPES = ("run.succeeded", "run.failed", "drift.detected")

# --- commands ---------------------------------------------------------------------------------------------------------------


@message(outcome="requested")
class CreateWebhook(Message):
    """Deliver a tenant's events to an address."""

    url: str = Field(max_length=2048, description="https, or http where the installation allows it; no user, no fragment")
    event_types: tuple[str, ...] = Field(default=DEFAULT_EVENT_TYPES, min_length=1, max_length=50, description=PATTERNS)
    pipelines: tuple[str, ...] = Field(default=(), max_length=100, description="Only events of these pipelines; none named: of all")
    description: str = Field(default="", max_length=500, description="For people")


@message(outcome="requested")
class UpdateWebhook(Message):
    """Change an endpoint; what is not named stays."""

    endpoint_id: str = Field(description=ENDPOINT)
    url: str | None = Field(default=None, max_length=2048, description="Where events go from now on, retries included")
    event_types: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=50, description=PATTERNS)
    pipelines: tuple[str, ...] | None = Field(default=None, max_length=100, description="Only events of these; an empty list: of all")
    description: str | None = Field(default=None, max_length=500, description="For people")
    enabled: bool | None = Field(default=None, description="false stops deliveries; true resumes with what came meanwhile")


@message(outcome="requested")
class DeleteWebhook(Message):
    """Deliver nothing more to an endpoint. Its history stays."""

    endpoint_id: str = Field(description=ENDPOINT)


@message(outcome="requested")
class RotateWebhookSecret(Message):
    """Sign with a new secret; for a while deliveries carry the old signature too."""

    endpoint_id: str = Field(description=ENDPOINT)
    keep_hours: int = Field(default=24, ge=0, le=168, description="How long the old secret still signs beside the new one")


@message(outcome="requested")
class RedeliverWebhook(Message):
    """Send one event to one endpoint again, under the same id."""

    endpoint_id: str = Field(description=ENDPOINT)
    event_id: str = Field(max_length=64, description=EVENT)


# --- events of control.events -----------------------------------------------------------------------------------------------


@message(subject=("webhook", "endpoint_id"), facts=("url", "event_types", "pipelines"))
class WebhookCreated(Message):
    """An endpoint gets the tenant's events from here on. Its secret is derived from the master key; no log holds it."""

    endpoint_id: str = Field(description=ENDPOINT)
    url: str = Field(description="Where events go")
    event_types: tuple[str, ...] = Field(description=PATTERNS)
    pipelines: tuple[str, ...] = Field(default=(), description="Only events of these pipelines; none named: of all")
    description: str = Field(default="", description="For people")
    key_version: int = Field(default=1, description="Of the secret; counts up with each rotation")


@message(subject=("webhook", "endpoint_id"), facts=("url", "event_types", "pipelines", "enabled"))
class WebhookUpdated(Message):
    """An endpoint as it is from here on, whole."""

    endpoint_id: str = Field(description=ENDPOINT)
    url: str = Field(description="Where events go")
    event_types: tuple[str, ...] = Field(description=PATTERNS)
    pipelines: tuple[str, ...] = Field(default=(), description="Only events of these pipelines; none named: of all")
    description: str = Field(default="", description="For people")
    enabled: bool = Field(description="Whether deliveries are made")


@message(subject=("webhook", "endpoint_id"))
class WebhookDeleted(Message):
    """An endpoint is gone; what was not delivered will not be."""

    endpoint_id: str = Field(description=ENDPOINT)


@message(subject=("webhook", "endpoint_id"), facts=("key_version", "previous_until"))
class WebhookSecretRotated(Message):
    """Deliveries are signed with the next secret; until `previous_until` with the one before too."""

    endpoint_id: str = Field(description=ENDPOINT)
    key_version: int = Field(description="Of the secret that signs from here on")
    previous_until: datetime = Field(description="Broker time")


@message(subject=("webhook", "endpoint_id"), facts=("event_id",), outcome="requested")
class WebhookRedeliveryRequested(Message):
    """Somebody wants one event delivered again."""

    endpoint_id: str = Field(description=ENDPOINT)
    event_id: str = Field(description=EVENT)


# --- webhooks.attempts ------------------------------------------------------------------------------------------------------

DELIVERY = "`<endpoint_id>/<event_id>`, with `/<command id>` behind it for a redelivery"
ATTEMPT_FACTS = ("event_id", "event_type", "attempt")


@message(subject=("webhook", "endpoint_id"), facts=(*ATTEMPT_FACTS, "host"), outcome="requested")
class WebhookAttemptStarted(Message):
    """An event is about to be sent. Written before the call: after a crash it is sent again under the same id."""

    endpoint_id: str = Field(description=ENDPOINT)
    delivery_id: str = Field(description=DELIVERY)
    event_id: str = Field(description=EVENT)
    event_type: str = Field(description="Its public type, as run.succeeded")
    attempt: int = Field(ge=1, description="Counted within the delivery")
    host: str = Field(description="To which host and port; the whole address may hold a secret")


@message(subject=("webhook", "endpoint_id"), facts=(*ATTEMPT_FACTS, "status", "duration_ms"))
class WebhookAttemptSucceeded(Message):
    """The receiver answered 2xx."""

    endpoint_id: str = Field(description=ENDPOINT)
    delivery_id: str = Field(description=DELIVERY)
    event_id: str = Field(description=EVENT)
    event_type: str = Field(description="Its public type, as run.succeeded")
    attempt: int = Field(ge=1, description="Counted within the delivery")
    status: int = Field(description="HTTP status")
    duration_ms: int = Field(description="Of the call")


@message(subject=("webhook", "endpoint_id"), facts=(*ATTEMPT_FACTS, "error_type", "status", "retry_at"), outcome="failed")
class WebhookAttemptFailed(Message):
    """The event was not taken. Without `retry_at` the delivery is given up; it can be asked for again."""

    endpoint_id: str = Field(description=ENDPOINT)
    delivery_id: str = Field(description=DELIVERY)
    event_id: str = Field(description=EVENT)
    event_type: str = Field(description="Its public type, as run.succeeded")
    attempt: int = Field(ge=1, description="Counted within the delivery")
    error_type: Literal["status", "redirect", "timeout", "connection", "dns", "tls", "blocked-address", "interrupted"] = Field(
        description="`blocked-address`: the name leads to an address that this installation does not deliver to"
    )
    detail: str = Field(max_length=2000, description="What happened, for people")
    status: int | None = Field(default=None, description="HTTP status, when there was an answer")
    duration_ms: int = Field(description="Of the call")
    retry_at: datetime | None = Field(default=None, description="Not before; absent when this was the last attempt")


@message(subject=("webhook", "endpoint_id"), facts=("reason", "detail"), outcome="refused")
class WebhookDisabled(Message):
    """The relay sends nothing more to an endpoint until it is enabled again; the events wait in the log."""

    endpoint_id: str = Field(description=ENDPOINT)
    reason: Literal["gone", "failing"] = Field(description="`gone`: it answered 410. `failing`: nothing was taken for days")
    detail: str = Field(description="What happened, for people")
