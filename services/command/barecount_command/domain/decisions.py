"""Decisions of people about what waits: four eyes, spent once, and bound to the plan that was shown.

Between the question and the answer the world may have moved. An approval is therefore held against the plan as the request's words mean
it now, and against the newest run of the data partition. What differs is named and nothing runs: the request ends as ReplayRefused, so
that it does not wait for ever for a decision that nobody can make, and asking again shows a new plan. What was recorded when the run
ended (pipeline, environment, data partition, contract and manifest version that it ran) and versions of contracts never change.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from barecount_contracts import ApprovalRejected, ContractRef, DecideRequest, PlanSummary, publisher_principal
from barecount_eventlog import Emit, Inbound

from .answers import principal_of, refuse
from .plans import difference, newest_run
from .replays import approved, refused, wanted_version
from .state import Decided, Pending, Pipeline, Tenant, Validated, Waiting


def decide_request(tenant: Tenant, inbound: Inbound, command: DecideRequest) -> list[Emit]:
    """ReplayApproved by a person, ApprovalRejected, or ReplayRefused with the difference. The decision is spent once."""
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
    if principal_of(inbound) in _requesters(tenant, inbound.command.tenant, request.asked.requested_by):
        return refuse(inbound, "own-request", f"request {command.request_id} is your own")
    if command.plan_digest != request.plan_digest:
        detail = f"the decision names plan {command.plan_digest}, the request shows {request.plan_digest}"
        return refuse(inbound, "plan-mismatch", detail, plan_digest=request.plan_digest)
    # the answer belongs to the chain that the request began: who asked follows that one
    chain, request_id = UUID(request.asked.correlation), command.request_id
    if command.decision == "reject":
        rejected = ApprovalRejected(
            request_id=request_id, run_id=request.asked.run_id, reason=command.reason, plan_digest=request.plan_digest
        )
        return [Emit(rejected, correlation=chain)]
    found = _why_not_any_more(tenant, request)
    if found is not None:
        return [Emit(refused(request_id, request.asked, request.facts, *found), correlation=chain)]
    event = approved(tenant, request_id, request.plan, request.plan_digest, by="person", rule="person", reason=command.reason)
    return [Emit(event, correlation=chain)]


def _requesters(tenant: Tenant, name: str, requested_by: str) -> set[str]:
    """Who asked; behind a publisher also everybody who ever registered a key of it."""
    behind = [one.registrars for system, one in tenant.publishers.items() if publisher_principal(name, system) == requested_by]
    return {requested_by}.union(*behind)


def _why_not_any_more(tenant: Tenant, request: Waiting) -> tuple[str, str, dict[str, Any]] | None:
    """(code, detail, extra) of what is not as it was shown."""
    plan = request.plan
    pipeline = tenant.pipelines[plan.pipeline]
    if pipeline.deleted:
        return "pipeline-deleted", f"pipeline {plan.pipeline} is retired since the request; its runs stay as they are", {}
    changed = difference(plan, _resolved_now(pipeline, request))
    newest = newest_run(tenant, plan)
    if newest != request.newest_run:
        changed["newest_run"] = {"was": request.newest_run, "is": newest}
    if not changed:
        return None
    named = ", ".join(f"{name} was {one['was']} and is {one['is']}" for name, one in changed.items() if name != "manifest_digest")
    return "plan-stale", f"since the request {named}: ask for the replay again", {"difference": changed}


def _resolved_now(pipeline: Pipeline, request: Waiting) -> PlanSummary:
    """The plan that the request's words give now."""
    number = wanted_version(request.asked, pipeline, request.facts)
    version = pipeline.version(number)
    assert version is not None, "versions are only added, and this one was there when the plan was made"
    name, contract_version = version.contract
    now = {"manifest_version": number, "manifest_digest": version.digest}
    return request.plan.model_copy(update={**now, "contract": ContractRef(name=name, version=contract_version)})
