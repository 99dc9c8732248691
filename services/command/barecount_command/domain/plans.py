"""Plans: what will run, resolved to digests. An approval, a run and its evidence all name the digest of one of these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import Any

from barecount_contracts import ContractRef, Environment, PlanSummary, bytes_digest, canonical_of_json

from .state import Pipeline, Tenant, place_of

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def plan_digest(plan: PlanSummary) -> str:
    """sha256 over the plan's canonical JSON (RFC 8785), absent fields left out."""
    return bytes_digest(canonical_of_json(plan.model_dump(mode="json", exclude_none=True)))


def run_plan(name: str, pipeline: Pipeline, number: int, environment: Environment, data_partition: str) -> PlanSummary:
    """The plan of a first run. `number` is a version that the pipeline has."""
    version = pipeline.versions[number - 1]
    return PlanSummary(
        pipeline=name,
        environment=environment,
        manifest_version=number,
        manifest_digest=version.digest,
        contract=ContractRef(name=version.contract[0], version=version.contract[1]),
        data_partitions=(data_partition,),
        mode="run",
    )


def newest_run(tenant: Tenant, plan: PlanSummary) -> str:
    """The run that was admitted last for the plan's data partition, in the plan's environment."""
    return tenant.newest_runs.get(place_of(plan.pipeline, plan.environment, plan.data_partitions[0]), "")


def difference(was: PlanSummary, now: PlanSummary) -> dict[str, dict[str, Any]]:
    """What is not the same in two plans: {field: {"was", "is"}}."""
    before, after = was.model_dump(mode="json", exclude_none=True), now.model_dump(mode="json", exclude_none=True)
    names = dict.fromkeys((*before, *after))
    return {name: {"was": before.get(name), "is": after.get(name)} for name in names if before.get(name) != after.get(name)}


# most of a day's runs are for the same few days
@lru_cache(maxsize=512)
def is_partition_key(key: str) -> bool:
    """Whether this is a key of the one partitioning there is: a calendar day, as 2025-10-04."""
    if not _DAY.fullmatch(key):
        return False
    try:
        date.fromisoformat(key)
    except ValueError:
        return False
    return True


def replay_id(tenant: Tenant, root: str) -> str:
    """The id of the next replay in a chain: `<root run>-replay-<n>`, the first n that is free."""
    return next(name for name in _replay_ids(root) if name not in tenant.runs)


def _replay_ids(root: str) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{root}-replay-{number}"
