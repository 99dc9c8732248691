"""One attempt: intent into the log, the call, its result into the log. A crash in between is found by whoever comes next."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol
from uuid import UUID, uuid4, uuid5

import structlog
from barecount_chassis import telemetry
from barecount_chassis.targets import TargetError, target_of
from barecount_contracts import (
    Envelope,
    Message,
    Position,
    WebhookAttemptFailed,
    WebhookAttemptStarted,
    WebhookAttemptSucceeded,
    WebhookDisabled,
)
from barecount_contracts.envelope import EVENT_NAMESPACE
from barecount_eventlog import AppendFailed

from . import metrics
from .domain import signing
from .domain.outcome import Failed, Outcome, Taken, is_gone
from .domain.schedule import Schedule
from .views.work import Due, Open

log = structlog.get_logger(__name__)

TOPIC = "webhooks.attempts"
PRINCIPAL = "service:webhooks"
USER_AGENT = "barecount-webhooks/1"
RESULT_PAUSES = (0.2, 1.0, 3.0)


class Posts(Protocol):
    """Sends one body; what the receiver or the network does is the outcome."""

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Outcome: ...


class Appends(Protocol):
    async def append(
        self, topic: str, key: str, envelope: Envelope, *, partition: int | None = None, timeout: float | None = None
    ) -> Position: ...


@dataclass(frozen=True)
class Attempts:
    """clock and chance are given by tests."""

    sender: Posts
    appender: Appends
    master: bytes
    schedule: Schedule
    give_up_after: timedelta
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: Callable[[], float] = random.random

    async def make(self, due: Due) -> tuple[Outcome, Position]:
        """Attempts a delivery once more. Answers the outcome and where the log has it.

        Raises: AppendFailed when the log does not take the intent (then nothing was sent) or the result (then it is sent again).
        """
        number = due.attempts + 1
        known = {
            "endpoint_id": due.endpoint.endpoint_id,
            "delivery_id": due.delivery_id,
            "event_id": due.event_id,
            "event_type": due.event_type,
        }
        with telemetry.tracer().start_as_current_span(metrics.SPAN_ATTEMPT) as span:
            span.set_attribute("barecount.webhook.endpoint", due.endpoint.endpoint_id)
            span.set_attribute("barecount.webhook.event", due.event_id)
            intent = WebhookAttemptStarted(**known, attempt=number, host=_place(due.endpoint.url))
            await self._append(due.endpoint.tenant, intent, due.correlation)
            began = time.perf_counter()
            at = self.clock()
            body = body_of(due)
            outcome = await self.sender.post(due.endpoint.url, self._headers(due, at, body), body)
            took = time.perf_counter() - began
            metrics.ATTEMPT_SECONDS.observe(took)
            result = self._result(outcome, known, number, round(took * 1000))
            position = await self._insist(due.endpoint.tenant, result, due.correlation)
        metrics.ATTEMPTS.labels("taken" if isinstance(outcome, Taken) else outcome.error_type).inc()
        if isinstance(outcome, Failed):
            log.info(metrics.ATTEMPT_FAILED, **known, attempt=number, error_type=outcome.error_type, status=outcome.status)
            position = await self._maybe_disable(due, outcome) or position
        return outcome, position

    async def interrupted(self, left: Open) -> Position:
        """Closes an attempt whose result nobody wrote: the delivery goes on at once, under the same id, with the next number."""
        log.warning(metrics.ATTEMPT_INTERRUPTED, endpoint_id=left.endpoint_id, delivery_id=left.delivery_id, attempt=left.attempt)
        result = WebhookAttemptFailed(
            endpoint_id=left.endpoint_id,
            delivery_id=left.delivery_id,
            event_id=left.event_id,
            event_type=left.event_type,
            attempt=left.attempt,
            error_type="interrupted",
            detail="the relay ended before it knew the answer; the event is sent again under the same id",
            duration_ms=0,
            retry_at=self.clock(),
        )
        return await self._append(left.tenant, result, uuid4())

    def _headers(self, due: Due, at: datetime, body: bytes) -> dict[str, str]:
        endpoint = due.endpoint
        versions = [endpoint.key_version]
        if endpoint.previous_until is not None and endpoint.previous_until > at:
            versions.append(endpoint.key_version - 1)
        secrets = [signing.secret_of(self.master, endpoint.tenant, endpoint.endpoint_id, version) for version in versions]
        return {"content-type": "application/json", "user-agent": USER_AGENT, **signing.headers(secrets, due.event_id, at, body)}

    def _result(self, outcome: Outcome, known: dict[str, str], number: int, duration_ms: int) -> Message:
        match outcome:
            case Taken(status):
                return WebhookAttemptSucceeded(**known, attempt=number, status=status, duration_ms=duration_ms)
            case Failed(error_type, detail, status, wait):
                retry_at = self.schedule.retry_at(number, self.clock(), self.chance(), wait)
                if is_gone(outcome) and retry_at is None:
                    # the endpoint is disabled: what is not delivered waits for the day on which it is enabled
                    retry_at = self.clock()
                return WebhookAttemptFailed(
                    **known, attempt=number, error_type=error_type, detail=detail, status=status, duration_ms=duration_ms, retry_at=retry_at
                )

    async def _maybe_disable(self, due: Due, outcome: Failed) -> Position | None:
        reason: Literal["gone", "failing"]
        since = due.endpoint.failing_since
        if is_gone(outcome):
            reason, detail = "gone", "it answered 410: the receiver wants nothing more"
        elif since is not None and self.clock() - since >= self.give_up_after:
            reason, detail = "failing", f"nothing was taken since {since.isoformat()}; last: {outcome.detail}"[:2000]
        else:
            return None
        log.warning(metrics.ENDPOINT_DISABLED, endpoint_id=due.endpoint.endpoint_id, reason=reason)
        metrics.DISABLED.labels(reason).inc()
        disabled = WebhookDisabled(endpoint_id=due.endpoint.endpoint_id, reason=reason, detail=detail)
        return await self._append(due.endpoint.tenant, disabled, due.correlation)

    async def _insist(self, tenant: str, payload: Message, correlation: UUID) -> Position:
        """A result is worth waiting for: without it the event is sent once more."""
        for pause in RESULT_PAUSES:
            try:
                return await self._append(tenant, payload, correlation)
            except AppendFailed as error:
                log.warning(metrics.RELAY_RETAKEN, error=str(error), retry_in=pause)
                await asyncio.sleep(pause)
        return await self._append(tenant, payload, correlation)

    async def _append(self, tenant: str, payload: Message, correlation: UUID) -> Position:
        told = payload.to_data()
        # the same word about the same attempt has the same id, however often it is written
        identity = uuid5(EVENT_NAMESPACE, f"{payload.TYPE}/{told['delivery_id']}/{told['attempt']}") if "delivery_id" in told else uuid4()
        envelope = Envelope(
            id=identity,
            type=payload.TYPE,
            version=payload.VERSION,
            tenant=tenant,
            time=self.clock(),
            correlation=correlation,
            principal=PRINCIPAL,
            data=told,
        )
        return await self.appender.append(TOPIC, tenant, envelope)


def body_of(due: Due) -> bytes:
    """Standard Webhooks' body. The same bytes at every attempt: `data` is what the log holds."""
    head = json.dumps({"type": due.event_type, "timestamp": due.at.astimezone(UTC).isoformat()}, separators=(",", ":"))
    return f'{head[:-1]},"data":{due.data}}}'.encode()


def _place(url: str) -> str:
    try:
        return target_of(url).place
    except TargetError:
        return "unreadable"
