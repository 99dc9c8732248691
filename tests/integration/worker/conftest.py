"""A lake in a temporary folder, the sample in it, and a way to run its stages as an attempt would."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from barecount_contracts import PublishTicket, StagedOutput
from barecount_local import sample
from barecount_manifest import Manifest, load, parse
from barecount_worker.adapters.executor import execute, execute_fence
from barecount_worker.domain.failure import StageFailed
from barecount_worker.domain.lake import Lake
from barecount_worker.domain.stage import DeadLetter, StageResult, StageTask
from barecount_worker.domain.stop import Stop

DAY = "2025-10-04"


@dataclass
class Attempt:
    """What a run of all stages left behind."""

    results: dict[str, StageResult] = field(default_factory=dict)
    failure: StageFailed | None = None
    failed_stage: str = ""
    dead: list[DeadLetter] = field(default_factory=list)
    log: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    @property
    def outputs(self) -> tuple[StagedOutput, ...]:
        return tuple(output for result in self.results.values() for output in result.outputs)


@dataclass
class Retailer:
    """The tenant acme with the sample's pipeline."""

    root: Path
    document: dict[str, Any]
    contracts: dict[tuple[str, str], dict[str, Any]]

    @property
    def lake(self) -> Lake:
        return Lake(self.root, "acme", "prod")

    @property
    def table(self) -> Path:
        return self.lake.table("tables/revenue_kpi")

    @property
    def manifest(self) -> Manifest:
        return parse(self.document)

    def deliver(self, day: str = DAY, damaged: bool = False) -> sample.Delivery:
        return sample.deliver(self.root, "acme", date.fromisoformat(day), damaged)

    def task(
        self, stage: str, run_id: str, number: int, inputs: tuple[StagedOutput, ...], day: str, superseded: tuple[int, ...]
    ) -> StageTask:
        ticket = PublishTicket(
            app_id=f"acme/prod/revenue-kpi/{day}", table="tables/revenue_kpi", number=number, fence=number - 1, superseded=superseded
        )
        return StageTask(
            tenant="acme",
            environment="prod",
            run_id=run_id,
            manifest=self.manifest,
            contracts=self.contracts,
            stage=stage,
            data_partition=day,
            attempt=1,
            nonce=f"n{number}",
            inputs=inputs,
            ticket=ticket if stage == "publish" else None,
            facts={"correlation_id": "c-1", "plan_digest": "sha256:p", "manifest_digest": "sha256:m"},
        )

    def run(
        self,
        run_id: str = "run-1",
        number: int = 3,
        day: str = DAY,
        superseded: tuple[int, ...] = (),
        until: str = "",
        stop: Stop | None = None,
    ) -> Attempt:
        """All stages in order, or those before `until`; ends at the first failure."""
        attempt = Attempt()

        def log(level: str, event: str, **fields: object) -> None:
            attempt.log.append((level, event, fields))

        for stage in self.manifest.stages:
            if stage.name == until:
                break
            try:
                task = self.task(stage.name, run_id, number, attempt.outputs, day, superseded)
                attempt.results[stage.name] = execute(task, self.lake, log, attempt.dead.append, stop or Stop())
            except StageFailed as failure:
                attempt.failure, attempt.failed_stage = failure, stage.name
                break
        return attempt

    def publish(self, staged: Attempt, run_id: str, number: int, superseded: tuple[int, ...] = (), day: str = DAY) -> StageResult:
        task = self.task("publish", run_id, number, staged.outputs, day, superseded)
        return execute(task, self.lake, lambda level, event, **fields: None, staged.dead.append, Stop())

    def fence(self, run_id: str, number: int, superseded: tuple[int, ...], day: str = DAY) -> StageResult:
        task = self.task("publish", run_id, number, (), day, superseded)
        return execute_fence(task, self.lake, lambda level, event, **fields: None, Stop())


@pytest.fixture
def retailer(tmp_path: Path) -> Retailer:
    contracts = [load(sample.document(name)) for name in sample.CONTRACTS]
    by_version = {(contract["name"], contract["version"]): contract for contract in contracts}
    return Retailer(tmp_path / "lake", load(sample.document(sample.MANIFEST)), by_version)

    """The day's file delivered whole."""

    def delivered() -> Retailer:
        retailer.deliver()
        return retailer

    return delivered
