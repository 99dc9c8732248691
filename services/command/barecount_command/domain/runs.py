"""Runs: admit a first run, ask for an end. What a run then does is decided by the execution service."""

from __future__ import annotations

from barecount_contracts import CancelRun, RunCancelRequested, RunRequested, StartRun
from barecount_eventlog import Emit, Inbound

from .answers import refuse
from .plans import RUN_ID, is_partition_key, plan_digest, run_plan
from .state import Tenant


def start_run(tenant: Tenant, inbound: Inbound, command: StartRun) -> list[Emit]:
    """RunRequested with the plan that the environment's version gives."""
    known = tenant.pipelines.get(command.pipeline)
    if known is None:
        return refuse(inbound, "pipeline-not-found", f"there is no pipeline {command.pipeline}")
    if known.deleted:
        return refuse(inbound, "pipeline-deleted", f"pipeline {command.pipeline} is retired")
    number = known.environments.get(command.environment)
    if number is None:
        detail = f"{command.environment} runs no version of {command.pipeline}"
        return refuse(inbound, "not-deployed", detail, environments=dict(known.environments))
    if not is_partition_key(command.data_partition):
        rule = known.versions[number - 1].terms.partitioned_by
        return refuse(inbound, "invalid-data-partition", f"{command.data_partition!r} is not a {rule} as 2025-10-04")
    # derived from the command: the same command names the same run
    run_id = command.run_id or f"{command.pipeline}-{command.data_partition}-{inbound.command.id.hex[:12]}"
    if not RUN_ID.fullmatch(run_id):
        return refuse(inbound, "invalid-request", f"{run_id[:130]!r} is no run id: letters, digits, `_`, `.`, `-`, at most 120")
    if run_id in tenant.runs:
        return refuse(inbound, "run-exists", f"run {run_id} exists")
    plan = run_plan(command.pipeline, known, number, command.environment, command.data_partition)
    return [Emit(RunRequested(run_id=run_id, plan=plan, plan_digest=plan_digest(plan)))]


def cancel_run(tenant: Tenant, inbound: Inbound, command: CancelRun) -> list[Emit]:
    """RunCancelRequested. Whether the run still can be cancelled is execution's to say."""
    if command.run_id not in tenant.runs:
        return refuse(inbound, "run-not-found", f"there is no run {command.run_id}")
    return [Emit(RunCancelRequested(run_id=command.run_id, reason=command.reason))]
