"""Every metric and log event that is the relay's own, one list for an operator."""

from __future__ import annotations

from typing import Final

from barecount_chassis.telemetry import REGISTRY
from prometheus_client import Counter, Gauge, Histogram

# --- spans ------------------------------------------------------------------------------------------------------------------
SPAN_ATTEMPT: Final = "webhooks.attempt"  # one delivery attempt, from intent to result

# --- log events -------------------------------------------------------------------------------------------------------------
RELAY_OWNED: Final = "webhooks.relay_owned"
RELAY_RETAKEN: Final = "webhooks.relay_retaken"  # the database or Kafka was away: attempts go on when it is back
ENDPOINT_DISABLED: Final = "webhooks.endpoint_disabled"
ATTEMPT_FAILED: Final = "webhooks.attempt_failed"
ATTEMPT_INTERRUPTED: Final = "webhooks.attempt_interrupted"  # a relay ended between intent and result: it is sent again

# --- metrics ----------------------------------------------------------------------------------------------------------------
DUE: Final = Gauge("barecount_webhooks_due", "Deliveries that are due now", registry=REGISTRY)
IN_FLIGHT: Final = Gauge("barecount_webhooks_in_flight", "Attempts under way", registry=REGISTRY)
OLDEST: Final = Gauge(
    "barecount_webhooks_oldest_undelivered_seconds", "Age of the oldest event of an enabled endpoint not taken yet", registry=REGISTRY
)
ATTEMPTS: Final = Counter("barecount_webhooks_attempts", "Attempts by outcome: taken, or why not", ["outcome"], registry=REGISTRY)
ATTEMPT_SECONDS: Final = Histogram(
    "barecount_webhooks_attempt_seconds", "Of the call", buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 15), registry=REGISTRY
)
DISABLED: Final = Counter("barecount_webhooks_endpoints_disabled", "Endpoints given up, by reason", ["reason"], registry=REGISTRY)
OPEN_BREAKERS: Final = Gauge("barecount_webhooks_open_breakers", "Endpoints that are not called for a while", registry=REGISTRY)
