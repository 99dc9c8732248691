"""Every span, metric and log event that is this service's own, one list for an operator."""

from __future__ import annotations

from typing import Final

from barecount_chassis.telemetry import REGISTRY
from prometheus_client import Counter, Gauge

# --- spans ------------------------------------------------------------------------------------------------------------------
SPAN_FACTS: Final = "ledger.facts"  # what the ledger proves about one replay request, until its report is appended

# --- log events -------------------------------------------------------------------------------------------------------------
FACTS_REPORTED: Final = "ledger.facts_reported"
LEDGER_BEHIND: Final = "ledger.behind"  # a request waits and the ledger has not moved: look at the evidence service
LEDGER_BROKEN: Final = "ledger.broken"  # the ledger contradicts itself: every replay is refused; `barecount evidence verify`
LEDGER_REOPENED: Final = "ledger.reopened"
POLICY_RETRY: Final = "ledger.policy_retry"
REQUEST_UNREADABLE: Final = "ledger.request_unreadable"  # the read model has parked it

# --- metrics ----------------------------------------------------------------------------------------------------------------
WAITING: Final = Gauge("barecount_replay_requests_waiting", "Replay requests that wait for the ledger", registry=REGISTRY)
OLDEST: Final = Gauge("barecount_replay_wait_seconds", "How long the oldest of them has waited in this process", registry=REGISTRY)
MISSING: Final = Gauge(
    "barecount_replay_ledger_missing", "runs.events offsets that the signed ledger must still cover for it", registry=REGISTRY
)
REPORTED: Final = Counter("barecount_ledger_facts_reported", "Reports appended, by whether the run was found", ["found"], registry=REGISTRY)
LEAVES: Final = Gauge("barecount_ledger_copy_leaves", "Leaves of the ledger as this service recomputed it", registry=REGISTRY)
BROKEN: Final = Gauge("barecount_ledger_copy_broken", "1: the ledger contradicts itself", registry=REGISTRY)
