"""Decisions of people about what waits: four eyes, and bound to the plan that was shown."""

from __future__ import annotations

from barecount_contracts import ApprovalRejected, DecideRequest
from barecount_eventlog import Emit, Inbound

from .answers import principal_of, refuse
from .replays import approved
from .state import Decided, Pending, Tenant, Validated, Waiting


def decide_request(tenant: Tenant, inbound: Inbound, command: DecideRequest) -> list[Emit]:
    """ReplayApproved by a person, or ApprovalRejected. The decision is spent once."""
    request = tenant.requests.get(command.request_id)
    match request:
        case None:
            return refuse(inbound, "request-not-found", f"there is no request {command.request_id}")
        case Pending() | Validated():
            return refuse(inbound, "request-not-waiting", f"request {command.request_id} still waits for the ledger", state="pending")
        case Decided(outcome):
            return refuse(inbound, "request-not-waiting", f"request {command.request_id} was {outcome}", state=outcome)
        case Waiting():
            return _decide(tenant, inbound, command, request)


def _decide(tenant: Tenant, inbound: Inbound, command: DecideRequest, request: Waiting) -> list[Emit]:
    if principal_of(inbound) == request.asked.requested_by:
        return refuse(inbound, "own-request", f"request {command.request_id} is your own")
    if command.plan_digest != request.plan_digest:
        detail = f"the decision names plan {command.plan_digest}, the request shows {request.plan_digest}"
        return refuse(inbound, "plan-mismatch", detail, plan_digest=request.plan_digest)
    if command.decision == "reject":
        event = ApprovalRejected(
            request_id=command.request_id,
            run_id=request.asked.run_id,
            reason=command.reason,
            plan_digest=request.plan_digest,
        )
        return [Emit(event)]
    pipeline = tenant.pipelines[request.plan.pipeline]
    if pipeline.deleted:
        return refuse(inbound, "pipeline-deleted", f"pipeline {request.plan.pipeline} is retired since the request")
    if request.asked.manifest_version == "latest" and pipeline.newest != request.plan.manifest_version:
        detail = f"`latest` was manifest version {request.plan.manifest_version} and is {pipeline.newest} now: ask for the replay again"
        difference = {"manifest_version": {"was": request.plan.manifest_version, "is": pipeline.newest}}
        return refuse(inbound, "plan-stale", detail, difference=difference)
    reason = command.reason
    return [
        Emit(approved(tenant, command.request_id, request.plan, request.plan_digest, by="person", rule="person", reason=reason)),
    ]
