"""What each payload tells of its thing: the fields of StateChanged that differ by type, and the line for people."""

from __future__ import annotations

from typing import Any

from barecount_contracts import (
    ApprovalRejected,
    ApprovalRequested,
    CommandRefused,
    ContractRef,
    ContractRegistered,
    DataPartitionPublished,
    DriftDetected,
    Message,
    PipelineCreated,
    PipelineDeleted,
    PipelinePromoted,
    PipelineUpdated,
    PublisherRegistered,
    PublisherRevoked,
    ReplayApproved,
    ReplayRefused,
    ReplayRequested,
    ReplayValidated,
    RunCancelled,
    RunCancelling,
    RunCancelRequested,
    RunFailed,
    RunQueued,
    RunRefused,
    RunRequested,
    RunStarted,
    RunSucceeded,
    SchemaRegistered,
    TaskDispatched,
    TaskFailed,
    TaskLeaseExpired,
    TaskRef,
    TaskRetryScheduled,
    TaskStarted,
    TaskSucceeded,
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookSecretRotated,
    WebhookUpdated,
)
from barecount_contracts.changes import Drift, Failure, Waits

from .known import Facts, Known

Fields = dict[str, Any]


def told(known: Known, tenant: str, payload: Message) -> Fields:
    """The fields of StateChanged that this payload gives, at least `id` and `summary`.

    Raises: ValueError for a type that CHANGES names and nobody has given words yet.
    """
    found = _registry(payload) or _run(known, tenant, payload) or _task(known, tenant, payload) or _replay(known, tenant, payload)
    found = found or _outside(payload)
    if found is None:
        raise ValueError(f"{payload.TYPE} has no words: add a case to barecount_streams/domain/words.py")
    return found


def _registry(payload: Message) -> Fields | None:
    match payload:
        case SchemaRegistered(subject=subject, schema_version=version):
            return {"id": subject, "summary": f"Schema {subject} has version {version}"}
        case ContractRegistered(name=name, version=version):
            said = f"Contract {name} {version} is registered"
            return {"id": name, "summary": said, "contract": ContractRef(name=name, version=version)}
        case PipelineCreated(name=name, version=version, environment=environment):
            said = f"Pipeline {name} is created in {environment}"
        case PipelineUpdated(name=name, version=version, environment=environment):
            said = f"Pipeline {name} has version {version} in {environment}"
        case PipelinePromoted(name=name, version=version, to_environment=environment):
            said = f"Pipeline {name} version {version} is promoted from {payload.from_environment} to {environment}"
        case PipelineDeleted(name=name, last_version=version):
            return {"id": name, "summary": f"Pipeline {name} is retired", "pipeline": name, "manifest_version": version}
        case _:
            return None
    return {"id": name, "summary": said, "pipeline": name, "environment": environment, "manifest_version": version}


def _run(known: Known, tenant: str, payload: Message) -> Fields | None:
    match payload:
        case RunRequested(run_id=run, plan=plan):
            facts, status, said, more = Facts.of(plan), "requested", f"Run {run} of {plan.pipeline} is admitted", Fields()
        case RunQueued(run_id=run, plan=plan):
            facts, status, said, more = Facts.of(plan), "queued", f"Run {run} of {plan.pipeline} waits for a slot", {}
        case RunSucceeded(run_id=run, plan=plan, totals=totals):
            facts, status, more = Facts.of(plan), "succeeded", {"totals": totals}
            said = f"Run {run} of {plan.pipeline} succeeded: {totals.records_in} records read, {totals.records_out} rows published"
        case RunFailed(run_id=run, plan=plan):
            failure = Failure(error_type=payload.error_type, message=payload.error_message, stage=payload.stage)
            facts, status, more = Facts.of(plan), "failed", {"totals": payload.totals, "failure": failure, "stage": payload.stage}
            said = f"Run {run} of {plan.pipeline} failed in {payload.stage}: {payload.error_type}"
        case RunCancelled(run_id=run, plan=plan):
            facts, status, more = Facts.of(plan), "cancelled", {"totals": payload.totals}
            said = f"Run {run} of {plan.pipeline} is cancelled: {payload.reason or 'no reason given'}"
        case RunStarted(run_id=run):
            return _of_run(known, tenant, run, f"Run {run} has started", status="running")
        case RunCancelRequested(run_id=run):
            return _of_run(known, tenant, run, f"Run {run} shall end: {payload.reason or 'no reason given'}")
        case RunCancelling(run_id=run):
            return _of_run(known, tenant, run, f"Run {run} is being ended: {payload.reason or 'no reason given'}", status="cancelling")
        case RunRefused(run_id=run):
            failure = Failure(error_type=payload.code, message=payload.detail)
            return _of_run(known, tenant, run, f"Run {run} is refused: {payload.code}", status="refused", failure=failure)
        case DataPartitionPublished(run_id=run, publication=publication):
            said = f"Run {run} published {publication.data_partition} of {publication.table}: {publication.records} rows"
            return _of_run(known, tenant, run, said, data_partitions=(publication.data_partition,))
        case DriftDetected(run_id=run):
            drift = Drift(kind=payload.kind, dataset=payload.dataset, expected=payload.expected, actual=payload.actual)
            said = f"{payload.kind.capitalize()} drift in {payload.dataset}: {payload.actual} instead of {payload.expected}"
            fields = {"pipeline": payload.pipeline, "environment": payload.environment, "data_partitions": (payload.data_partition,)}
            return _of_run(known, tenant, run, said, drift=drift, **fields)
        case _:
            return None
    return {"id": run, "run_id": run, "summary": said, "status": status, **_facts(facts), **more}


def _task(known: Known, tenant: str, payload: Message) -> Fields | None:
    match payload:
        case TaskDispatched(run_id=run, task=task):
            return _of_run(known, tenant, run, _task_line(run, task, f"goes to {task.worker_id}"), **_attempt(task))
        case TaskStarted(run_id=run, task=task):
            return _of_run(known, tenant, run, _task_line(run, task, f"is begun by {task.worker_id}"), **_attempt(task))
        case TaskSucceeded(run_id=run, task=task, metrics=metrics):
            said = _task_line(run, task, f"is done: {metrics.records_in} in, {metrics.records_out} out, {metrics.dead_lettered} set aside")
            return _of_run(known, tenant, run, said, **_attempt(task))
        case TaskFailed(run_id=run, task=task):
            failure = Failure(error_type=payload.error_type, message=payload.error_message, stage=task.stage)
            return _of_run(known, tenant, run, _task_line(run, task, f"failed: {payload.error_type}"), failure=failure, **_attempt(task))
        case TaskLeaseExpired(run_id=run, task=task):
            return _of_run(known, tenant, run, _task_line(run, task, f"was not heard of: {task.worker_id} is given up"), **_attempt(task))
        case TaskRetryScheduled(run_id=run):
            said = f"Stage {payload.stage} of {run} is tried again as attempt {payload.next_attempt}: {payload.reason}"
            return _of_run(known, tenant, run, said, stage=payload.stage, attempt=payload.next_attempt)
        case _:
            return None


def _replay(known: Known, tenant: str, payload: Message) -> Fields | None:
    match payload:
        case ReplayRequested(request_id=request, run_id=run):
            said = f"A replay of {run} under {payload.contract_version} is asked for"
            waits = Waits(request_id=request)
            return {"summary": said, "status": "requested", "data_partitions": (payload.data_partition,), **_request(request, run, waits)}
        case ReplayValidated(request_id=request, run_id=run, plan=plan):
            waits = Waits(request_id=request, plan_digest=payload.plan_digest)
            said = f"The ledger proves what the replay of {run} needs"
            return {**_facts(Facts.of(plan)), "summary": said, "status": "validated", **_request(request, run, waits)}
        case ReplayRefused(request_id=request, run_id=run, facts=facts):
            failure = Failure(error_type=payload.code, message=payload.detail)
            seen = {"pipeline": facts.pipeline, "environment": facts.environment, "data_partitions": (payload.data_partition,)}
            said = f"The replay of {run} is refused: {payload.code}"
            return {**seen, "summary": said, "status": "refused", "failure": failure, **_request(request, run, Waits(request_id=request))}
        case ReplayApproved(request_id=request, run_id=run, plan=plan):
            waits = Waits(
                request_id=request,
                plan_digest=payload.plan_digest,
                rule=payload.rule,
                reason=payload.reason,
                new_run_id=payload.new_run_id,
            )
            said = f"The replay of {run} is approved by {payload.by}: {payload.new_run_id}"
            return {**_facts(Facts.of(plan)), "summary": said, "status": "approved", **_request(request, run, waits)}
        case ApprovalRequested(request_id=request, run_id=run, plan=plan):
            waits = Waits(
                request_id=request,
                plan_digest=payload.plan_digest,
                rule=payload.rule,
                reason=payload.reason,
                requested_by=payload.requested_by,
            )
            said = f"The replay of {run} waits for a person: {payload.reason}"
            return {**_facts(Facts.of(plan)), "summary": said, "status": "waiting", **_request(request, run, waits)}
        case ApprovalRejected(request_id=request, run_id=run):
            waits = Waits(request_id=request, plan_digest=payload.plan_digest, reason=payload.reason)
            said = f"The replay of {run} is rejected: {payload.reason}"
            return {**_facts(known.request(tenant, request)), "summary": said, "status": "rejected", **_request(request, run, waits)}
        case _:
            return None


def _outside(payload: Message) -> Fields | None:
    """Commands, publishers, webhooks: what outsiders set up themselves."""
    match payload:
        case CommandRefused(command_id=command, command_type=kind):
            failure = Failure(error_type=payload.code, message=payload.detail)
            said = f"{kind} is refused: {payload.code}"
            return {"id": str(command), "summary": said, "status": "refused", "failure": failure, "command_id": command}
        case PublisherRegistered(name=name, roles=roles):
            return {"id": name, "summary": f"Publisher {name} may publish commands as {', '.join(roles)}"}
        case PublisherRevoked(name=name):
            return {"id": name, "summary": f"Publisher {name} may no longer publish"}
        # an address may hold a secret, so no line names it
        case WebhookCreated(endpoint_id=endpoint):
            return {"id": endpoint, "summary": f"Webhook {endpoint} gets {', '.join(payload.event_types)}", "status": "enabled"}
        case WebhookUpdated(endpoint_id=endpoint, enabled=enabled):
            state = "enabled" if enabled else "disabled"
            return {"id": endpoint, "summary": f"Webhook {endpoint} has changed and is {state}", "status": state}
        case WebhookDeleted(endpoint_id=endpoint):
            return {"id": endpoint, "summary": f"Webhook {endpoint} is gone", "status": "deleted"}
        case WebhookSecretRotated(endpoint_id=endpoint):
            return {"id": endpoint, "summary": f"Webhook {endpoint} signs with secret {payload.key_version}"}
        case WebhookDisabled(endpoint_id=endpoint, reason=reason):
            failure = Failure(error_type=reason, message=payload.detail)
            return {"id": endpoint, "summary": f"Webhook {endpoint} is disabled: {reason}", "status": "disabled", "failure": failure}
        case _:
            return None


def _of_run(known: Known, tenant: str, run: str, line: str, **more: Any) -> Fields:
    """What the plan says comes from RunQueued, while the run is open."""
    return {"id": run, "run_id": run, **_facts(known.run(tenant, run)), "summary": line, **more}


def _request(request: str, run: str, waits: Waits) -> Fields:
    return {"id": request, "run_id": run, "waits": waits}


def _facts(facts: Facts | None) -> Fields:
    if facts is None:
        return {}
    return {
        "pipeline": facts.pipeline,
        "environment": facts.environment,
        "manifest_version": facts.manifest_version,
        "contract": facts.contract,
        "data_partitions": facts.data_partitions,
        "rerun_of": facts.rerun_of,
    }


def _attempt(task: TaskRef) -> Fields:
    return {"stage": task.stage, "attempt": task.attempt, "worker_id": task.worker_id}


def _task_line(run: str, task: TaskRef, what: str) -> str:
    return f"Stage {task.stage} of {run}, attempt {task.attempt}, {what}"
