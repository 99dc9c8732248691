"""Drift as a user of the API sees it: beside the run, which ends as it would without."""

from __future__ import annotations

from uuid import uuid4

import pytest
from barecount_contracts import SOURCE_COLUMNS, CheckResult, RunTask, StageMetrics

from tests.integration.execution.kit import Execution, Site, Worker, in_pool
from tests.unit.execution.world import success

pytestmark = pytest.mark.integration


async def test_a_day_with_another_column_and_far_fewer_records_shows_both_drifts(site: Site, execution: Execution) -> None:
    tenant = f"t-{uuid4().hex[:8]}"
    document = in_pool(f"pool-{tenant}")
    await site.register(tenant, document)

    async def answers(worker: Worker, task: RunTask) -> None:
        report = success(task)
        if task.run_id == "run_4" and task.task.stage == "read":
            more = CheckResult(name=SOURCE_COLUMNS, holds=False, detail="additional: loyalty_id")
            report = report.model_copy(update={"metrics": StageMetrics(records_in=120, records_out=120), "checks": (more,)})
        await worker.started(task)
        worker.open.pop(task.task.nonce, None)
        await worker.report(task, report)

    async with Worker(site, f"w-{tenant}", f"pool-{tenant}", answer=answers).running():
        for number in range(1, 5):
            await site.request(tenant, f"run_{number}", document, f"2025-10-{number:02}")
            run = await execution.run(tenant, f"run_{number}", "succeeded", "failed")
            assert run["status"] == "succeeded"
            assert bool(run["drift"]) == (number == 4)
    schema, volume = run["drift"]
    assert {name: schema[name] for name in ("kind", "dataset", "data_partition", "expected", "actual")} == {
        "kind": "schema",
        "dataset": "transactions",
        "data_partition": "2025-10-04",
        "expected": "the columns of retail v1",
        "actual": "additional: loyalty_id",
    }
    assert (volume["kind"], volume["actual"]) == ("volume", "120 records")
    assert "median of 3 data partitions is 1000" in volume["expected"]
    assert (await execution.get("/runs/run_4", f"o-{tenant}")).status_code == 404
