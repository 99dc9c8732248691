"""The shapes of the relay's answers, for /openapi.json."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

DeliveryState = Literal["pending", "succeeded", "failed"]


class Delivery(BaseModel):
    """One event on its way to one endpoint. `failed`: given up after the last attempt; it can be asked for again."""

    delivery_id: str
    event_id: str = Field(description="`webhook-id` at the receiver; the same at every attempt and redelivery")
    event_type: str
    state: DeliveryState
    attempts: int
    created_at: datetime = Field(description="When the event happened, or was asked for again")
    due_at: datetime | None = Field(description="Of a pending one: not attempted before")
    ended_at: datetime | None
    status: int | None = Field(description="HTTP status of the last attempt")
    error_type: str | None
    detail: str | None
    links: dict[str, str]


class DeliveryAttempt(BaseModel):
    attempt: int
    outcome: Literal["started", "succeeded", "failed"]
    started_at: datetime | None
    ended_at: datetime | None
    host: str | None
    status: int | None
    error_type: str | None
    detail: str | None
    duration_ms: int | None
    retry_at: datetime | None


class DeliveryShown(Delivery):
    attempt_list: list[DeliveryAttempt]


class Deliveries(BaseModel):
    items: list[Delivery]
    next_cursor: str | None


class EndpointHealth(BaseModel):
    """How an endpoint does. `state`: `disabled` by its tenant or by the relay, `open` while its breaker lets nothing through."""

    endpoint_id: str
    state: Literal["live", "open", "half-open", "disabled", "deleted"]
    disabled_reason: Literal["by-tenant", "gone", "failing"] | None
    disabled_detail: str | None
    disabled_at: datetime | None
    pending: int
    failed: int
    succeeded: int
    oldest_undelivered_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    failing_since: datetime | None
    in_flight: int
    concurrency: int = Field(description="Calls at once that the endpoint has earned")


class Secret(BaseModel):
    endpoint_id: str
    secret: str = Field(description="For Standard Webhooks libraries: `whsec_` and base64")
    key_version: int
    previous: str | None = Field(description="While rotating: the secret before, whose signature deliveries carry too")
    previous_until: datetime | None
