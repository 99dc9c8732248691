"""Replays: asked for, proven by the ledger, approved by policy or by another person; each step an event.

A request's life: ReplayRequested (Pending) → ReplayRefused, or ReplayValidated with ReplayApproved or ApprovalRequested (Waiting)
→ ReplayApproved, ApprovalRejected, or ReplayRefused because what was shown is not so any more (decisions.py). The request's id is the
id of the ReplayRun command.
"""

from __future__ import annotations

from typing import Any

from barecount_contracts import (
    ApprovalRequested,
    ContractRef,
    LedgerFacts,
    PlanSummary,
    ReplayApproved,
    ReplayRefused,
    ReplayRequested,
    ReplayRun,
    ReplayValidated,
    ReportLedgerFacts,
)
from barecount_eventlog import Emit, Inbound

from .answers import refuse
from .pipelines import registered
from .plans import is_partition_key, newest_run, plan_digest, replay_id
from .state import Asked, Decided, Pending, Pipeline, State, Tenant, Validated, Waiting


def request_replay(tenant: Tenant, inbound: Inbound, command: ReplayRun) -> list[Emit]:
    """ReplayRequested when the words make sense. Whether they are true is the ledger's to prove, never this state's."""
    if not is_partition_key(command.data_partition):
        return refuse(inbound, "invalid-data-partition", f"{command.data_partition!r} is not a day as 2025-10-04")
    if command.manifest_version not in ("as_run", "latest") and _number(command.manifest_version) is None:
        detail = f"manifest version {command.manifest_version!r} is none of as_run, latest, or a number"
        return refuse(inbound, "unknown-manifest-version", detail)
    if not any(command.contract_version in versions for versions in tenant.contracts.values()):
        names = set(tenant.contracts)
        pipeline = tenant.pipelines.get(tenant.runs.get(command.run_id) or "")
        if pipeline is not None:
            names = {version.contract[0] for version in pipeline.versions}
        detail = f"no contract has a version {command.contract_version}"
        return refuse(inbound, "unknown-contract-version", detail, exists=registered(tenant, names))
    event = ReplayRequested(
        request_id=str(inbound.command.id),
        run_id=command.run_id,
        contract_version=command.contract_version,
        data_partition=command.data_partition,
        manifest_version=command.manifest_version,
    )
    return [Emit(event)]


def judge_facts(tenant: Tenant, inbound: Inbound, command: ReportLedgerFacts) -> list[Emit]:
    """ReplayRefused, or ReplayValidated and who decides: ReplayApproved by policy, or ApprovalRequested."""
    request = tenant.requests.get(command.request_id)
    match request:
        case None:
            return refuse(inbound, "request-not-found", f"there is no request {command.request_id}")
        case Pending(asked):
            found = _resolve(tenant, asked, command.facts)
            if isinstance(found, PlanSummary):
                return _validated(tenant, command, asked, found)
            code, detail, extra = found
            return [Emit(refused(command.request_id, asked, command.facts, code, detail, extra))]
        case Validated() | Waiting() | Decided():
            return refuse(inbound, "request-not-waiting", f"the facts of request {command.request_id} were judged before")


def is_judged(state: State, tenant: str, request_id: str) -> bool:
    """Whether the facts of a request were judged: reporting them again would change nothing."""
    return isinstance(state.of(tenant).requests.get(request_id), Validated | Waiting | Decided)


_Unproven = tuple[str, str, dict[str, Any]]


def _resolve(tenant: Tenant, asked: Asked, facts: LedgerFacts) -> PlanSummary | _Unproven:
    """The plan that the proven facts allow, or (code, detail, extra) of the first thing that is not so."""
    run = asked.run_id
    if facts.checkpoint_verified is False or facts.run_id != run or (facts.found and not facts.inclusion_verified):
        return "evidence-not-proven", f"the ledger's records do not lead to its signed root for run {run}", {}
    if not facts.found:
        if run in tenant.runs:
            return "run-not-ended", f"the ledger, complete up to the request, holds no end of run {run}", {}
        return "run-not-found", f"there is no run {run}", {}
    if asked.data_partition not in facts.data_partitions:
        had = list(facts.data_partitions)
        return "partition-not-of-run", f"run {run} had {', '.join(had)}, not {asked.data_partition}", {"had": had}
    ran_under = facts.contract
    if ran_under is None or ran_under.version != asked.contract_version:
        named = f"{ran_under.name} {ran_under.version}" if ran_under else "no contract"
        extra = {"ran_under": ran_under.model_dump() if ran_under else None}
        return "contract-mismatch", f"run {run} ran under {named}, not {asked.contract_version}", extra
    return _plan(tenant, asked, facts, ran_under)


def _plan(tenant: Tenant, asked: Asked, facts: LedgerFacts, ran_under: ContractRef) -> PlanSummary | _Unproven:
    name = facts.pipeline or ""
    pipeline = tenant.pipelines.get(name)
    as_run = pipeline.version(facts.manifest_version or 0) if pipeline else None
    if pipeline is None or as_run is None or as_run.digest != facts.manifest_digest or facts.environment is None:
        detail = f"the ledger names manifest version {facts.manifest_version} of {name} with a digest that was never registered"
        return "evidence-not-proven", detail, {}
    if pipeline.deleted:
        return "pipeline-deleted", f"pipeline {name} is retired; its runs stay as they are", {}
    number = wanted_version(asked, pipeline, facts)
    version = pipeline.version(number)
    if version is None:
        exists = list(range(1, pipeline.newest + 1))[-200:]
        return "unknown-manifest-version", f"pipeline {name} has no manifest version {asked.manifest_version}", {"exists": exists}
    if version.contract != (ran_under.name, ran_under.version):
        detail = f"manifest version {number} of {name} promises {' '.join(version.contract)}; the replay asks for {asked.contract_version}"
        return "contract-mismatch", detail, {"ran_under": ran_under.model_dump(), "manifest_names": list(version.contract)}
    return PlanSummary(
        pipeline=name,
        environment=facts.environment,
        manifest_version=number,
        manifest_digest=version.digest,
        contract=ran_under,
        data_partitions=(asked.data_partition,),
        mode="replay",
        rerun_of=asked.run_id,
        root_run=facts.root_run or asked.run_id,
    )


def _validated(tenant: Tenant, command: ReportLedgerFacts, asked: Asked, plan: PlanSummary) -> list[Emit]:
    fingerprint = plan_digest(plan)
    proven = ReplayValidated(
        request_id=command.request_id,
        run_id=asked.run_id,
        contract_version=asked.contract_version,
        data_partition=asked.data_partition,
        facts=command.facts,
        plan=plan,
        plan_digest=fingerprint,
    )
    version = tenant.pipelines[plan.pipeline].versions[plan.manifest_version - 1]
    clean = command.facts.status == "failed" and asked.data_partition not in command.facts.published
    # a later run may have succeeded: replacing what it left is for a person, whatever became of this one
    later = newest_run(tenant, plan)
    policy = clean and later == asked.run_id
    rule, decides = (
        ("failed_under_same_contract", version.terms.failed_under_same_contract) if policy else ("otherwise", version.terms.otherwise)
    )
    reason = f"{asked.data_partition} {'failed' if clean else str(command.facts.status)} under {plan.contract.name} {plan.contract.version}"
    reason += " and nothing of it was published" if clean else ""
    reason += f"; run {later} was admitted for it since" if later != asked.run_id else ""
    rule = f"governance.replay.{rule}"
    if decides == "policy":
        return [Emit(proven), Emit(approved(tenant, command.request_id, plan, fingerprint, by="policy", rule=rule, reason=reason))]
    waits = ApprovalRequested(
        request_id=command.request_id,
        run_id=asked.run_id,
        rule=rule,
        reason=reason,
        plan=plan,
        plan_digest=fingerprint,
        requested_by=asked.requested_by,
    )
    return [Emit(proven), Emit(waits)]


def approved(tenant: Tenant, request_id: str, plan: PlanSummary, fingerprint: str, *, by: Any, rule: str, reason: str) -> ReplayApproved:
    """The approval, with the id of the run that it starts."""
    assert plan.rerun_of is not None
    assert plan.root_run is not None
    return ReplayApproved(
        request_id=request_id,
        run_id=plan.rerun_of,
        new_run_id=replay_id(tenant, plan.root_run),
        by=by,
        rule=rule,
        reason=reason,
        plan=plan,
        plan_digest=fingerprint,
    )


def refused(request_id: str, asked: Asked, facts: LedgerFacts, code: str, detail: str, extra: dict[str, Any]) -> ReplayRefused:
    """The end of a request that cannot be."""
    return ReplayRefused(
        request_id=request_id,
        run_id=asked.run_id,
        contract_version=asked.contract_version,
        data_partition=asked.data_partition,
        code=code,
        detail=detail,
        extra=extra,
        facts=facts,
    )


def wanted_version(asked: Asked, pipeline: Pipeline, facts: LedgerFacts) -> int:
    """The manifest version that the request's words mean now; it may not exist."""
    said = asked.manifest_version
    return (facts.manifest_version or 0) if said == "as_run" else pipeline.newest if said == "latest" else _number(said) or 0


def _number(said: str) -> int | None:
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 and said[0] != "0" else None
