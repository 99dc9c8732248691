"""From a RunTask record to what a stage needs, after it is certain that the task carries what its plan names."""

from __future__ import annotations

from collections.abc import Iterator

from barecount_contracts import Envelope, RunTask
from barecount_manifest import Manifest, digest

from barecount_worker.domain.failure import ErrorType, StageFailed
from barecount_worker.domain.stage import StageTask


def stage_task(envelope: Envelope, order: RunTask) -> StageTask:
    """Raises: StageFailed task-invalid when a body is not what a digest names, or the manifest is none of this release."""
    wrong = list(_foreign_bodies(order))
    if wrong:
        raise StageFailed(ErrorType.TASK_INVALID, f"the task carries other bodies than its plan names: {'; '.join(wrong)}")
    try:
        manifest = Manifest.model_validate(order.bodies.manifest)
    except ValueError as error:
        raise StageFailed(ErrorType.TASK_INVALID, f"the effective manifest cannot be run by this release: {error}") from error
    return StageTask(
        tenant=envelope.tenant,
        environment=order.plan.environment,
        run_id=order.run_id,
        manifest=manifest,
        contracts={(body.name, body.version): body.document for body in order.bodies.contracts},
        stage=order.task.stage,
        data_partition=order.task.data_partition,
        attempt=order.task.attempt,
        nonce=order.task.nonce,
        inputs=order.inputs,
        ticket=order.ticket,
        facts={
            "correlation": str(envelope.correlation),
            "plan_digest": order.plan_digest,
            "manifest_digest": order.plan.manifest_digest,
            "contract": f"{order.plan.contract.name} {order.plan.contract.version}",
            "mode": order.plan.mode,
        },
    )


def _foreign_bodies(order: RunTask) -> Iterator[str]:
    """What is approved is what runs: every body against its digest, and the plan against its own."""
    if digest(order.plan.model_dump(mode="json", exclude_none=True)) != order.plan_digest:
        yield f"the plan is not {order.plan_digest}"
    if digest(order.bodies.manifest) != order.plan.manifest_digest:
        yield f"the manifest is not {order.plan.manifest_digest}"
    for body in order.bodies.contracts:
        if digest(body.document) != body.digest:
            yield f"contract {body.name} {body.version} is not {body.digest}"
